"""Which anchor answers for which labelled box."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.detector.boxes import BoxCodes, Boxes, encode_boxes, iou_matrix
from models.detector.detections import ClassIds
from models.detector.spec import DetectorSpec

BACKGROUND = -1
"""Class target of an anchor that must find nothing."""
IGNORED = -2
"""Class target of an anchor whose answer does not count."""

MATCH_IOU = 0.5
# Between the two an anchor is neither right nor wrong (Lin et al. 2017, sec. 4).
BACKGROUND_IOU = 0.4
# A long thin box overlaps every anchor badly. So that it does not live on one anchor alone, its
# best few answer for it even under MATCH_IOU, if they overlap at all well.
MIN_MATCHES = 4
MIN_FORCED_IOU = 0.25


@dataclass(frozen=True, slots=True)
class Targets:
    """What the network should answer for one picture.

    Attributes:
        class_ids: ``(A,)`` int32; a class id, `BACKGROUND` or `IGNORED`.
        box_codes: ``(A, 4)`` float32; zero where no box is matched.
    """

    class_ids: npt.NDArray[np.int32]
    box_codes: BoxCodes


def assign_targets(
    boxes: Boxes, class_ids: ClassIds, anchors: Boxes, spec: DetectorSpec
) -> Targets:
    """Match the labelled boxes of one picture to the anchors.

    Args:
        boxes: ``(N, 4)`` corners in pixels of the network's input; ``N`` may be 0.
        class_ids: ``(N,)``.
        anchors: ``(A, 4)`` from ``anchor_boxes(spec)``.
        spec: for the scales of the box codes.

    Returns:
        Targets of every anchor; each box has at least one anchor unless a better box took it.
    """
    targets = np.full(len(anchors), BACKGROUND, np.int32)
    codes = np.zeros((len(anchors), 4), np.float32)
    if not len(boxes):
        return Targets(targets, codes)
    overlap = iou_matrix(boxes, anchors)
    best = overlap.max(axis=0)
    owner = overlap.argmax(axis=0)
    matched = best >= MATCH_IOU
    targets[(best >= BACKGROUND_IOU) & ~matched] = IGNORED
    _force_matches(overlap, matched, owner)
    targets[matched] = class_ids[owner[matched]]
    codes[matched] = encode_boxes(
        boxes[owner[matched]],
        anchors[matched],
        center_scale=spec.center_scale,
        size_scale=spec.size_scale,
    )
    return Targets(targets, codes)


def _force_matches(
    overlap: npt.NDArray[np.float32],
    matched: npt.NDArray[np.bool_],
    owner: npt.NDArray[np.int64],
) -> None:
    """Give every box its best anchors; ``matched`` and ``owner`` are changed in place."""
    count = min(MIN_MATCHES, overlap.shape[1])
    closest = np.argpartition(-overlap, count - 1, axis=1)[:, :count]
    for index, anchor_ids in enumerate(closest):
        good = anchor_ids[overlap[index, anchor_ids] >= MIN_FORCED_IOU]
        # Not from a box that overlaps the anchor more.
        matched[good[owner[good] == index]] = True
    for index, anchor_id in enumerate(overlap.argmax(axis=1)):
        if overlap[index, anchor_id] > 0:
            matched[anchor_id], owner[anchor_id] = True, index

"""Whether two looks at the same picture say the same thing."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from models.detector.boxes import Boxes, iou_matrix
from models.detector.detections import Detections

MIN_IOU = 0.5


def counted_boxes(
    detections: Detections, categories: Sequence[str], thresholds: Mapping[str, float]
) -> dict[str, Boxes]:
    """Boxes that score enough to count, by category.

    Args:
        detections: what a model found.
        categories: that model's label map.
        thresholds: lowest score that counts; a category without one counts from 0.5.

    Returns:
        ``(N, 4)`` corners for each category that has any.
    """
    # Scores are float32: a limit of 0.9 must not refuse a score that was written as 0.9.
    limits = [float(np.float32(thresholds.get(name, 0.5))) for name in categories]
    found: dict[str, list[tuple[float, ...]]] = {}
    for class_id, score, *box in detections.rows(min(limits, default=0.0)):
        if score >= limits[int(class_id)]:
            found.setdefault(categories[int(class_id)], []).append(tuple(box))
    return {name: np.array(boxes, np.float32) for name, boxes in found.items()}


def disagree(
    first: Mapping[str, Boxes],
    second: Mapping[str, Boxes],
    *,
    known_to_both: Collection[str] | None = None,
) -> bool:
    """Whether one look found a box that the other did not.

    Args:
        first: boxes by category, as `counted_boxes` gives them.
        second: the same of the other look.
        known_to_both: only these categories count; a model that has learned a new defect does
            not disagree with one that never heard of it.
    """
    names = first.keys() | second.keys()
    if known_to_both is not None:
        names &= set(known_to_both)
    return any(not _match(first.get(name), second.get(name)) for name in names)


def mirrored(detections: Detections, width_px: int) -> Detections:
    """Boxes found in the picture's mirror image, put back into the picture's own pixels."""
    boxes = detections.boxes.copy()
    boxes[:, 0] = width_px - detections.boxes[:, 2]
    boxes[:, 2] = width_px - detections.boxes[:, 0]
    return Detections(boxes, detections.scores, detections.class_ids, detections.embedding)


def _match(first: Boxes | None, second: Boxes | None) -> bool:
    if first is None or second is None or len(first) != len(second):
        return False
    overlaps = iou_matrix(first, second)
    # Greedy, best pair first; equal numbers and every box used once means a one-to-one match.
    for _ in range(len(first)):
        row, column = np.unravel_index(int(np.argmax(overlaps)), overlaps.shape)
        if overlaps[row, column] < MIN_IOU:
            return False
        overlaps[row, :] = -1
        overlaps[:, column] = -1
    return True

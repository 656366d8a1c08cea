"""Arithmetic of boxes: overlap, the code that the network learns, layouts."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float32]
"""``(N, 4)`` corners ``x1, y1, x2, y2`` in pixels, ``x2 >= x1``, ``y2 >= y1``."""
BoxCodes = npt.NDArray[np.float32]
"""``(N, 4)`` offsets of centre x, centre y and log sizes against an anchor, scaled."""
Matrix = npt.NDArray[np.float32]

# A code beyond this means a box 60 times its anchor: only a broken network says so, and exp()
# of more overflows.
MAX_LOG_SIZE = 4.1


class Scale(NamedTuple):
    """From the network's input back to a picture."""

    x: float
    y: float
    width_px: float
    height_px: float

    def to_picture(self, boxes: Boxes) -> Boxes:
        """Boxes in pixels of the network's input in those of the picture, clipped at its border."""
        scaled: Boxes = boxes * np.array([self.x, self.y, self.x, self.y], np.float32)
        limits = (self.width_px, self.height_px, self.width_px, self.height_px)
        np.minimum(scaled, np.array(limits, np.float32), out=scaled)
        return np.maximum(scaled, np.float32(0), out=scaled)


def iou_matrix(boxes_a: Boxes, boxes_b: Boxes) -> Matrix:
    """Overlap of every box in one set with every box in another.

    Args:
        boxes_a: ``(A, 4)`` corners ``x1, y1, x2, y2`` in pixels.
        boxes_b: ``(B, 4)``, the same layout.

    Returns:
        ``(A, B)`` intersection over union in ``[0, 1]``. A pair whose union has no area scores 0.

    Raises:
        ValueError: an input is not ``(N, 4)``.
    """
    shared = _intersections(boxes_a, boxes_b)
    union = areas(boxes_a)[:, None] + areas(boxes_b)[None, :] - shared
    ratio: Matrix = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ratio


def coverage_matrix(boxes_a: Boxes, boxes_b: Boxes) -> Matrix:
    """Which part of each box in ``boxes_a`` lies inside each box in ``boxes_b``: ``(A, B)``."""
    shared = _intersections(boxes_a, boxes_b)
    own = np.broadcast_to(areas(boxes_a)[:, None], shared.shape)
    ratio: Matrix = np.divide(shared, own, out=np.zeros_like(shared), where=own > 0)
    return ratio


def areas(boxes: Boxes) -> npt.NDArray[np.float32]:
    """Area of each box, ``(N,)`` square pixels."""
    area: npt.NDArray[np.float32] = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1)
    return area


def encode_boxes(
    boxes: Boxes, anchors: Boxes, *, center_scale: float, size_scale: float
) -> BoxCodes:
    """Write boxes as the network must answer them at their anchors.

    Args:
        boxes: ``(N, 4)`` corners; sizes below one pixel count as one.
        anchors: ``(N, 4)`` corners, row by row the anchor of each box.
        center_scale: factor on the centre's offset in anchor sizes.
        size_scale: factor on the logarithm of the size ratio.

    Returns:
        ``(N, 4)`` codes ``dx, dy, dw, dh``.
    """
    anchor_sizes = anchors[:, 2:] - anchors[:, :2]
    sizes = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
    offsets = (boxes[:, :2] + boxes[:, 2:] - anchors[:, :2] - anchors[:, 2:]) / 2
    codes = [offsets / anchor_sizes * center_scale, np.log(sizes / anchor_sizes) * size_scale]
    return np.concatenate(codes, axis=1).astype(np.float32)


def decode_boxes(
    codes: BoxCodes, anchors: Boxes, *, center_scale: float, size_scale: float
) -> Boxes:
    """Inverse of `encode_boxes`: ``(N, 4)`` corners in pixels, not clipped to the picture."""
    anchor_sizes = anchors[:, 2:] - anchors[:, :2]
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2 + codes[:, :2] / center_scale * anchor_sizes
    half = np.exp(np.minimum(codes[:, 2:] / size_scale, MAX_LOG_SIZE)) * anchor_sizes / 2
    return np.concatenate([centers - half, centers + half], axis=1).astype(np.float32)


def clip_boxes(boxes: Boxes, *, height: int, width: int) -> Boxes:
    """Cut boxes at the picture's border; a box outside becomes one without area."""
    limits = np.array([width, height, width, height], np.float32)
    return np.clip(boxes, 0, limits)


def corners_of(bboxes: npt.NDArray[np.floating]) -> Boxes:
    """COCO ``x, y, width, height`` rows to corners; also takes an empty array."""
    bboxes = np.asarray(bboxes, np.float32).reshape(-1, 4)
    return np.concatenate([bboxes[:, :2], bboxes[:, :2] + bboxes[:, 2:]], axis=1)


def bboxes_of(boxes: Boxes) -> npt.NDArray[np.float32]:
    """Corners to COCO ``x, y, width, height`` rows."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _intersections(boxes_a: Boxes, boxes_b: Boxes) -> Matrix:
    for boxes in (boxes_a, boxes_b):
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"boxes must be (N, 4), not {boxes.shape}")
    upper_left = np.maximum(boxes_a[:, None, :2], boxes_b[None, :, :2])
    lower_right = np.minimum(boxes_a[:, None, 2:], boxes_b[None, :, 2:])
    shared: Matrix = np.maximum(lower_right - upper_left, 0).prod(axis=2, dtype=np.float32)
    return shared

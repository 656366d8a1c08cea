import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.detector.boxes import (
    Boxes,
    bboxes_of,
    clip_boxes,
    corners_of,
    coverage_matrix,
    decode_boxes,
    encode_boxes,
    iou_matrix,
)

places = st.floats(0, 500, width=32)
box_lists = hnp.arrays(np.float32, st.tuples(st.integers(0, 6), st.just(4)), elements=places).map(
    lambda raw: np.concatenate(
        [np.minimum(raw[:, :2], raw[:, 2:]), np.maximum(raw[:, :2], raw[:, 2:])], axis=1
    )
)


@given(box_lists, box_lists)
def test_overlap_is_a_ratio_and_the_same_both_ways(first: Boxes, second: Boxes) -> None:
    overlap = iou_matrix(first, second)
    assert overlap.shape == (len(first), len(second))
    assert ((overlap >= 0) & (overlap <= 1)).all()
    np.testing.assert_allclose(overlap, iou_matrix(second, first).T)


def test_boxes_without_area_overlap_nothing() -> None:
    point = np.array([[5, 5, 5, 5]], np.float32)
    assert iou_matrix(point, point) == 0
    assert coverage_matrix(point, np.array([[0, 0, 9, 9]], np.float32)) == 0


def test_half_overlap_is_one_third() -> None:
    first, second = np.array([[[0, 0, 2, 1]], [[1, 0, 3, 1]]], np.float32)
    np.testing.assert_allclose(iou_matrix(first, second), [[1 / 3]])
    np.testing.assert_allclose(coverage_matrix(first, second), [[0.5]])


@pytest.mark.parametrize("shape", [(4,), (2, 5), (1, 2, 4)])
def test_wrongly_shaped_boxes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be"):
        iou_matrix(np.zeros(shape, np.float32), np.zeros((1, 4), np.float32))


@given(box_lists.filter(len))
def test_a_decoded_code_is_the_box_again(boxes: Boxes) -> None:
    anchors = np.tile(np.array([[200, 200, 240, 230]], np.float32), (len(boxes), 1))
    # Codes do not carry a size below one pixel.
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    codes = encode_boxes(boxes, anchors, center_scale=10, size_scale=5)
    decoded = decode_boxes(codes, anchors, center_scale=10, size_scale=5)
    np.testing.assert_allclose(decoded, boxes, atol=0.01)


def test_clipping_keeps_boxes_in_the_picture() -> None:
    clipped = clip_boxes(
        np.array([[-5, -5, 30, 8], [40, 40, 50, 50]], np.float32), height=10, width=20
    )
    assert clipped.tolist() == [[0, 0, 20, 8], [20, 10, 20, 10]]


@given(box_lists)
def test_coco_boxes_and_corners_are_two_writings_of_the_same(boxes: Boxes) -> None:
    np.testing.assert_allclose(corners_of(bboxes_of(boxes)), boxes, atol=1e-3)

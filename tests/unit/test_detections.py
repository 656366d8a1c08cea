"""Detections as arrays and as plain numbers are the same ones."""

import numpy as np
import pytest

from models.detector.boxes import Scale
from models.detector.detections import Answer, Answered, Detections, NotFiniteError

SCALE = Scale(2.0, 1.6, 640, 512)
ANSWER = np.array(
    [[1, 0.9, 10, 20, 30, 40], [0, 0.5, 0, 0, 320, 320], [2, 0.1, 1, 2, 3, 4]], np.float32
)
EMBEDDING = np.zeros(4, np.float32)


def answered(answer: Answer = ANSWER) -> Answered:
    return Answered(answer.copy(), SCALE, EMBEDDING)


def test_what_the_network_answered_comes_in_pixels_of_the_picture() -> None:
    found = answered()
    assert len(found) == 3
    assert found.boxes.tolist() == [
        [20, 32, 60, 64],
        [0, 0, 640, 512],
        pytest.approx([2, 3.2, 6, 6.4]),
    ]
    assert found.scores.tolist() == pytest.approx([0.9, 0.5, 0.1])
    assert found.class_ids.tolist() == [1, 0, 2]
    assert found.class_ids.dtype == np.int64


def test_plain_numbers_are_those_of_the_arrays() -> None:
    late = answered()
    made = Detections(late.boxes, late.scores, late.class_ids)
    for found in (late, made):
        rows = found.rows(0.5)
        assert [row[0] for row in rows] == [1, 0], "only boxes that score enough"
        np.testing.assert_allclose([row[2:] for row in rows], late.boxes[:2], rtol=1e-6)
        np.testing.assert_allclose([row[1] for row in rows], late.scores[:2], rtol=1e-6)


def test_spots_are_the_boxes_of_a_class_by_score_centre_and_area() -> None:
    late = answered()
    for found in (late, Detections(late.boxes, late.scores, late.class_ids)):
        spots = found.spots(0.5)
        assert set(spots) == {0, 1}, "only boxes that score enough"
        assert spots[1] == [pytest.approx((0.9, 40, 48, 40 * 32))]
        assert spots[0] == [pytest.approx((0.5, 320, 256, 640 * 512))]


def test_rounding_leaves_no_box_beyond_the_picture() -> None:
    edge = np.array([[0, 0.9, 0, 0, 320.00003, 320.00003]], np.float32)
    assert answered(edge).rows(0)[0][4:] == (640, 512)
    assert answered(edge).boxes[0, 2:].tolist() == [640, 512]


def test_weak_boxes_can_be_left_out() -> None:
    strong = answered().at_least(0.5)
    assert strong.class_ids.tolist() == [1, 0]
    assert strong.embedding is EMBEDDING


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", range(6))
def test_one_number_that_is_none_is_noticed(column: int, bad: float) -> None:
    answer = ANSWER.copy()
    answer[2, column] = bad
    assert answered().is_finite()
    assert not answered(answer).is_finite()
    with pytest.raises(NotFiniteError):
        answered(answer).spots(0.5)


def test_nothing_is_finite() -> None:
    assert Detections.empty().is_finite()
    assert answered(ANSWER[:0]).is_finite()
    assert answered(ANSWER[:0]).rows(0) == []

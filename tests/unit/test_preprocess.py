from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from models.detector.anchors import default_anchors
from models.detector.preprocess import (
    check_image,
    resize_to_input,
    scale_of,
    scale_to_input,
)
from models.detector.spec import DetectorSpec

SPEC = DetectorSpec(
    categories=("bolt",),
    input_height=64,
    input_width=96,
    levels=(8,),
    anchors=default_anchors((8,)),
)


def test_resizing_fills_the_buffer_it_is_given() -> None:
    buffer = np.zeros((64, 96, 3), np.uint8)
    assert (
        resize_to_input(np.full((200, 100, 3), 7, np.uint8), SPEC, out=buffer) is buffer
        or (buffer == 7).all()
    )
    assert (buffer == 7).all()
    resize_to_input(np.full((64, 96, 3), 9, np.uint8), SPEC, out=buffer)
    assert (buffer == 9).all()


def test_boxes_come_back_to_the_picture_and_are_clipped() -> None:
    boxes = np.array([[10, 20, 90, 150]], np.float32)
    inside = scale_to_input(boxes, (200, 100, 3), SPEC)
    scale = scale_of(np.zeros((200, 100, 3), np.uint8), SPEC)
    np.testing.assert_allclose(scale.to_picture(inside), boxes, rtol=1e-5)
    outside = np.array([[-10, -10, 500, 500]], np.float32)
    assert scale.to_picture(outside).tolist() == [[0, 0, 100, 200]]


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)],
    ids=["grey", "float", "empty"],
)
def test_what_is_not_a_colour_picture_is_refused(image: npt.NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="BGR"):
        check_image(image)

"""Brightness and sharpness of a picture."""

import cv2
import numpy as np
import pytest

from edge_agent.exposure import MAX_PX, exposure_of


def test_brightness_is_the_mean_grey_of_the_picture() -> None:
    image = np.full((512, 640, 3), 90, np.uint8)
    image[256:] = 110
    assert exposure_of(image).mean_grey == pytest.approx(100, abs=1)


def test_a_blurred_picture_is_less_sharp_than_the_same_one_in_focus() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (512, 640, 3), dtype=np.uint8)
    blurred = cv2.GaussianBlur(noise, (9, 9), 3)
    assert exposure_of(blurred).sharpness < 0.05 * exposure_of(noise).sharpness


def test_a_picture_of_one_grey_has_no_sharpness() -> None:
    assert exposure_of(np.full((16, 16, 3), 7, np.uint8)) == (7.0, 0.0)


def test_a_large_picture_is_measured_in_its_middle_and_a_row_in_so_many() -> None:
    image = np.full((2048, 2448, 3), 50, np.uint8)
    side = int(MAX_PX**0.5) // 4
    image[1024 - side : 1024 + side : 2, 1224 - side : 1224 + side] = 250
    assert image.shape[0] * image.shape[1] > 20 * MAX_PX
    assert exposure_of(image).sharpness > 1000


def test_a_picture_wider_than_what_is_measured_has_a_brightness() -> None:
    assert exposure_of(np.full((4, MAX_PX + 1, 3), 7, np.uint8)).mean_grey == 7.0

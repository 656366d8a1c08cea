from typing import Any

import numpy as np
import pytest

from models.detector.boxes import Boxes
from models.detector.detections import ClassIds
from models.detector.preprocess import Image
from models.training.augment import AugmentSettings, augment_sample
from models.training.matching import IGNORED

GEOMETRY_ONLY: dict[str, Any] = {
    "light": 0.0,
    "colour": 0.0,
    "blur_probability": 0.0,
    "noise_probability": 0.0,
}


def picture_with_block() -> tuple[Image, Boxes, ClassIds]:
    image = np.zeros((80, 120, 3), np.uint8)
    image[20:40, 30:70] = 255
    return image, np.array([[30, 20, 70, 40]], np.float32), np.array([2])


def test_the_same_seed_gives_the_same_picture() -> None:
    sample = picture_with_block()
    first, second = (
        augment_sample(*sample, np.random.default_rng(7), AugmentSettings()) for _ in range(2)
    )
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("seed", range(12))
def test_boxes_stay_on_what_they_mark(seed: int) -> None:
    settings = AugmentSettings(
        output_size=(96, 64),
        flip_vertical=True,
        quarter_turns=True,
        crop_probability=1,
        **GEOMETRY_ONLY,
    )
    image, boxes, class_ids = augment_sample(
        *picture_with_block(), np.random.default_rng(seed), settings
    )
    assert image.shape == (64, 96, 3)
    assert class_ids.tolist() == [2]
    rows, columns = np.nonzero(image[..., 0] > 127)
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(boxes[0], seen, atol=1.5)


def test_the_picture_that_was_given_is_not_changed() -> None:
    image, boxes, class_ids = picture_with_block()
    before = image.copy()
    for seed in range(5):
        augment_sample(image, boxes, class_ids, np.random.default_rng(seed), AugmentSettings())
    np.testing.assert_array_equal(image, before)


def test_towards_the_end_pictures_are_as_the_camera_gave_them() -> None:
    image = np.random.default_rng(3).integers(0, 256, (50, 60, 3), np.uint8)
    boxes, class_ids = np.array([[10, 10, 30, 30]], np.float32), np.array([1])
    settings = AugmentSettings(output_size=(60, 50), flip_horizontal=False).settled()
    for seed in range(5):
        shown, moved, _ = augment_sample(
            image, boxes, class_ids, np.random.default_rng(seed), settings
        )
        np.testing.assert_array_equal(shown, image)
        np.testing.assert_array_equal(moved, boxes)


def test_a_picture_without_boxes_stays_without() -> None:
    empty = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    image = np.full((50, 60, 3), 90, np.uint8)
    _, boxes, class_ids = augment_sample(
        image, *empty, np.random.default_rng(1), AugmentSettings(crop_probability=1)
    )
    assert boxes.shape == (0, 4)
    assert class_ids.shape == (0,)


def windowed(**changes: object) -> AugmentSettings:
    facts: dict[str, Any] = {"output_size": (64, 64), "window_scale": (1.0, 1.0)}
    return AugmentSettings(**(facts | GEOMETRY_ONLY | changes))


def test_a_window_shows_the_picture_at_the_scale_of_the_cell() -> None:
    image, boxes, class_ids = picture_with_block()
    settings = windowed(max_zoom=1.0, flip_horizontal=False)
    for seed in range(20):
        shown, moved, ids = augment_sample(
            image, boxes, class_ids, np.random.default_rng(seed), settings
        )
        assert shown.shape == (64, 64, 3)
        for box in moved[ids == 2]:
            assert box[2] - box[0] <= 40
            assert box[3] - box[1] <= 20


def test_most_windows_hold_the_object() -> None:
    whole = [
        (augment_sample(*picture_with_block(), np.random.default_rng(seed), windowed())[2] == 2)
        for seed in range(60)
    ]
    assert np.mean([found.any() for found in whole]) > 0.7


def test_a_box_cut_in_two_counts_neither_as_there_nor_as_not_there() -> None:
    image, boxes, class_ids = picture_with_block()
    seen = set()
    for seed in range(200):
        settings = windowed(output_size=(32, 32), max_zoom=1.0)
        _, moved, ids = augment_sample(
            image, boxes, class_ids, np.random.default_rng(seed), settings
        )
        seen |= {
            (int(identity), (box[2] - box[0]) < 26)
            for box, identity in zip(moved, ids, strict=True)
        }
    assert (IGNORED, True) in seen
    assert (2, True) not in seen

"""Pictures that nobody may judge a part by."""

import numpy as np
import pytest

from edge_agent.image_checks import WHOLE_UP_TO_BYTES, check_picture, mean_grey
from edge_agent.ports import Image
from models.contract.messages import ReasonCode
from models.contract.recipe import ImageChecks, Recipe, View


def recipe(width: int = 640, height: int = 512, **checks: float | bool) -> Recipe:
    return Recipe(
        recipe_id="plate",
        version=1,
        part_type="plate",
        image_width_px=width,
        image_height_px=height,
        image_checks=ImageChecks.model_validate(checks),
        views=(View(),),
    )


def noise(low: int = 60, high: int = 190, *, height: int = 512, width: int = 640) -> Image:
    return np.random.default_rng(0).integers(low, high, (height, width, 3)).astype(np.uint8)


def code_of(image: Image, wanted: Recipe, previous: Image | None = None) -> ReasonCode | None:
    reason = check_picture(image, wanted, previous)
    return reason.code if reason else None


def half_white(share: float) -> Image:
    image = noise()
    image[:, : int(640 * share)] = 255
    return image


def white_on_black(share: float) -> Image:
    """As dark as a picture can be with so much of it saturated."""
    image = np.zeros((512, 640, 3), np.uint8)
    image[:, : int(640 * share)] = 250
    return image


@pytest.mark.parametrize(
    ("image", "code"),
    [
        pytest.param(noise(), None, id="a good one"),
        pytest.param(noise(0, 9), ReasonCode.BLACK, id="lamp is out"),
        pytest.param(half_white(0.6), ReasonCode.OVEREXPOSED, id="more than half is white"),
        pytest.param(half_white(0.4), None, id="less than half is white"),
        pytest.param(white_on_black(0.55), ReasonCode.OVEREXPOSED, id="white on black"),
        pytest.param(white_on_black(0.45), None, id="white on black, less than half"),
        pytest.param(noise(height=480), ReasonCode.WRONG_SIZE, id="another size"),
    ],
)
def test_picture_is_checked_before_it_is_judged(image: Image, code: ReasonCode | None) -> None:
    assert code_of(image, recipe()) is code


@pytest.mark.parametrize("height", [64, 1024, 2048])
def test_brightness_is_that_of_the_picture_whatever_its_size(height: int) -> None:
    width = 5 * height // 4
    assert height < 2048 or height * width * 3 > WHOLE_UP_TO_BYTES, "one that is too large"
    rows = np.linspace(0, 254, height).astype(np.uint8)
    image = np.repeat(rows, width * 3).reshape(height, width, 3)
    assert mean_grey(image) == pytest.approx(127, abs=8)
    assert code_of(image, recipe(width, height, min_mean=100)) is None
    assert code_of(image, recipe(width, height, min_mean=150)) is ReasonCode.BLACK


def test_camera_that_repeats_itself_is_noticed() -> None:
    image = noise()
    other = image.copy()
    other[0, 0, 0] ^= 1
    assert code_of(image, recipe(), previous=image.copy()) is ReasonCode.FROZEN
    assert code_of(image, recipe(), previous=other) is None, "one pixel differs"
    assert code_of(image, recipe(refuse_frozen=False), previous=image) is None


def test_black_picture_is_called_black_also_when_it_comes_twice() -> None:
    black = np.zeros((512, 640, 3), np.uint8)
    assert code_of(black, recipe(), previous=black.copy()) is ReasonCode.BLACK


def test_blur_is_measured_in_full_resolution() -> None:
    sharp = noise(height=1024, width=1280)
    soft = np.repeat(np.repeat(noise(height=64, width=80), 16, axis=0), 16, axis=1)
    wanted = recipe(1280, 1024, min_sharpness=500.0)
    assert code_of(sharp, wanted) is None
    assert code_of(soft, wanted) is ReasonCode.BLURRED

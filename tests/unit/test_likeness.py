import cv2
import numpy as np
import numpy.typing as npt
import pytest

from cloud.likeness import MAX_DISTANCE, distance, look_at, nearest
from simulators.dataset import DatasetPlan, jpeg_bytes, render_indexed
from simulators.parts import DEFECTS

Picture = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def plates() -> list[Picture]:
    plan = DatasetPlan(count=6, seed=5, defects=DEFECTS, defect_rate=0.75)
    return [render_indexed(plan, index).image for index in range(6)]


def seen_again(picture: Picture, seed: int) -> Picture:
    """The same part a moment later: a pixel's shift, a little light, noise."""
    random = np.random.default_rng(seed)
    noise = random.normal(0, 3, picture.shape)
    again = np.roll(picture, (1, -1), axis=(0, 1)) * random.uniform(0.97, 1.03) + noise
    return np.clip(again, 0, 255).astype(np.uint8)


def fingerprint(picture: Picture) -> str:
    look = look_at(jpeg_bytes(picture))
    assert look is not None
    return look.fingerprint


def test_a_part_seen_again_looks_alike_and_another_part_does_not(plates: list[Picture]) -> None:
    prints = [fingerprint(picture) for picture in plates]
    for number, picture in enumerate(plates):
        again = fingerprint(seen_again(picture, number))
        distances = [distance(again, known) for known in prints]
        assert distances[number] <= MAX_DISTANCE
        assert min(distances[:number] + distances[number + 1 :]) > MAX_DISTANCE


def test_a_picture_joins_the_group_that_it_looks_most_like() -> None:
    known = [("ff" * 32, "white"), ("0f" + "ff" * 31, "grey"), ("00" * 32, "black")]
    assert nearest("1f" + "ff" * 31, known) == "grey"
    assert nearest("0" * 32 + "f" * 32, known) is None


def test_less_light_and_less_focus_are_seen(plates: list[Picture]) -> None:
    sharp = look_at(jpeg_bytes(plates[0]))
    dim = look_at(jpeg_bytes((plates[0] * 0.8).astype(np.uint8)))
    soft = look_at(jpeg_bytes(np.asarray(cv2.GaussianBlur(plates[0], (9, 9), 3), np.uint8)))
    assert sharp is not None
    assert dim is not None
    assert soft is not None
    assert dim.brightness == pytest.approx(0.8 * sharp.brightness, rel=0.02)
    assert soft.sharpness < 0.5 * sharp.sharpness


@pytest.mark.parametrize("content", [b"", b"no picture", b"\xff\xd8\xff\xe0"])
def test_what_is_no_picture_has_no_look(content: bytes) -> None:
    assert look_at(content) is None

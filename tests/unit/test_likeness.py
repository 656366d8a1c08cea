import numpy as np
import numpy.typing as npt
import pytest

from cloud.likeness import look_at, nearest
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


def print_of(picture: Picture) -> bytes:
    seen = look_at(jpeg_bytes(picture))
    assert seen is not None
    return seen


def test_a_part_seen_again_looks_alike_and_another_part_does_not(plates: list[Picture]) -> None:
    known = [(print_of(picture), str(number)) for number, picture in enumerate(plates)]
    for number, picture in enumerate(plates):
        again = print_of(seen_again(picture, number))
        assert nearest(again, known) == str(number)
        others = [entry for entry in known if entry[1] != str(number)]
        assert nearest(again, others) is None


def test_one_cell_that_differs_makes_another_picture() -> None:
    plain = bytes([100]) * 1024
    known = [(plain, "plain"), (bytes([108]) * 1024, "brighter")]
    assert nearest(bytes([116]) + plain[1:], known) == "brighter"
    assert nearest(bytes([125]) + plain[1:], known) is None
    assert nearest(plain, []) is None


@pytest.mark.parametrize("content", [b"", b"no picture", b"\xff\xd8\xff\xe0"])
def test_what_is_no_picture_has_no_print(content: bytes) -> None:
    assert look_at(content) is None

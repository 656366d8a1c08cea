import cv2
import numpy as np
import pytest

from models.training.dataset_formats import Annotation
from models.training.pictures import MAX_PIXELS, as_stored, check_picture, clipped, decode, header

IMAGE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)


def encoded(suffix: str) -> bytes:
    return cv2.imencode(suffix, IMAGE)[1].tobytes()


@pytest.mark.parametrize(("suffix", "kind"), [(".png", "png"), (".jpg", "jpeg")])
def test_size_is_read_without_decoding(suffix: str, kind: str) -> None:
    assert header(encoded(suffix)) == (kind, (60, 40))


def test_huge_picture_is_refused_by_its_header_alone() -> None:
    data = bytearray(encoded(".png"))
    data[16:24] = (100_000).to_bytes(4, "big") + (MAX_PIXELS // 100_000 + 1).to_bytes(4, "big")
    assert (
        check_picture(bytes(data), "a.png", [], is_relative=False).problem == "over 50 megapixels"
    )


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"hello", id="text"),
        pytest.param(encoded(".png")[:200], id="cut off"),
    ],
)
def test_broken_picture_is_quarantined(data: bytes) -> None:
    assert check_picture(data, "a.png", [], is_relative=False).problem == "broken picture"


def test_png_named_jpeg_is_taken_and_noted() -> None:
    found = check_picture(encoded(".png"), "a.jpg", [], is_relative=False)
    assert not found.problem
    assert found.notes == ("png under another extension",)


def test_bmp_is_stored_as_png() -> None:
    stored = as_stored(encoded(".bmp"))
    assert header(stored)[0] == "png"
    np.testing.assert_array_equal(decode(stored), IMAGE)


def test_jpeg_is_stored_byte_for_byte() -> None:
    assert as_stored(encoded(".jpg")) == encoded(".jpg")


def test_picture_of_another_size_than_its_labels_is_quarantined() -> None:
    found = check_picture(encoded(".png"), "a.png", [], is_relative=False, labelled_size=(40, 60))
    assert found.problem == "not of the size that its labels name"


def test_box_that_is_there_twice_is_kept_once() -> None:
    box = Annotation("bolt", 5, 5, 10, 10)
    found = check_picture(encoded(".png"), "a.png", [box, box], is_relative=False)
    assert (found.boxes, found.notes) == ((box,), ("box: there twice",))


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        pytest.param((5, 5, 10, 10), (5, 5, 10, 10), id="inside"),
        pytest.param((-5, -5, 10, 10), (0, 0, 5, 5), id="over the corner"),
        pytest.param((60, 0, 10, 10), "outside the picture", id="beside it"),
        pytest.param((59.5, 0, 10, 10), "under one pixel", id="a sliver"),
        pytest.param((5, 5, 0, 10), "no area", id="no width"),
        pytest.param((5, 5, float("nan"), 10), "not a number", id="not a number"),
    ],
)
def test_boxes_are_cut_at_the_border_or_refused(
    box: tuple[float, float, float, float], expected: tuple[float, ...] | str
) -> None:
    found = clipped(Annotation("bolt", *box), 60, 40)
    if isinstance(found, str):
        assert found == expected
    else:
        assert (found.x, found.y, found.width, found.height) == expected


def test_relative_boxes_take_the_size_of_the_picture() -> None:
    box = Annotation("bolt", 0.5, 0.25, 0.1, 0.5)
    found = check_picture(encoded(".jpg"), "a.jpg", [box], is_relative=True)
    assert found.boxes == (Annotation("bolt", 30, 10, 6, 20),)

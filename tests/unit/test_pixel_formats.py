"""What cameras send, read as OpenCV's BGR."""

import numpy as np
import pytest

from edge_agent.adapters.pixel_formats import UnknownPixelFormatError, to_bgr

RED, GREEN, BLUE = (0, 0, 255), (0, 255, 0), (255, 0, 0)
HEIGHT, WIDTH = 8, 8


def plain(colour: tuple[int, ...]) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, len(colour)), colour, np.uint8)


def mosaic(pattern: str, bgr: tuple[int, int, int]) -> np.ndarray:
    """What a sensor with that pattern sees of one colour; its first two letters are row 1."""
    value = dict(zip("BGR", bgr, strict=True))
    first, second = pattern[0], pattern[1]
    below = {"RG": "GB", "GR": "BG", "BG": "GR", "GB": "RG"}[pattern]
    tile = np.array([[value[first], value[second]], [value[below[0]], value[below[1]]]], np.uint8)
    return np.tile(tile, (HEIGHT // 2, WIDTH // 2))


@pytest.mark.parametrize("pattern", ["RG", "GR", "GB", "BG"])
@pytest.mark.parametrize("colour", [RED, GREEN, BLUE], ids=["red", "green", "blue"])
def test_bayer_pattern_gives_the_colour_that_was_there(
    pattern: str, colour: tuple[int, int, int]
) -> None:
    image = to_bgr(mosaic(pattern, colour).ravel(), WIDTH, HEIGHT, f"Bayer{pattern}8")
    assert tuple(image[HEIGHT // 2, WIDTH // 2]) == colour


@pytest.mark.parametrize(
    ("pixel_format", "sent"),
    [
        ("RGB8", plain(RED[::-1])),
        ("BGR8", plain(RED)),
        ("BGR8Packed", plain(RED)),
        ("RGBa8", plain((*RED[::-1], 255))),
    ],
)
def test_colour_formats_arrive_as_red(pixel_format: str, sent: np.ndarray) -> None:
    image = to_bgr(sent.ravel(), WIDTH, HEIGHT, pixel_format)
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert (image == RED).all()


@pytest.mark.parametrize(("pixel_format", "value"), [("Mono10", 1023), ("Mono12", 4095)])
def test_deep_pixels_keep_their_brightness(pixel_format: str, value: int) -> None:
    sent = np.full(WIDTH * HEIGHT, value, "<u2").view(np.uint8)
    assert (to_bgr(sent, WIDTH, HEIGHT, pixel_format) == 255).all()


def test_picture_stays_when_the_drivers_buffer_is_used_again() -> None:
    for pixel_format in ("Mono8", "BGR8"):
        buffer = np.full(WIDTH * HEIGHT * 3, 7, np.uint8)
        image = to_bgr(buffer, WIDTH, HEIGHT, pixel_format)
        buffer[:] = 0
        assert (image == 7).all()


def test_unknown_format_and_short_data_are_told_apart() -> None:
    with pytest.raises(UnknownPixelFormatError, match="set PixelFormat to Mono8"):
        to_bgr(np.zeros(1000, np.uint8), WIDTH, HEIGHT, "Mono12Packed")
    with pytest.raises(ValueError, match="10 bytes instead of 64"):
        to_bgr(np.zeros(10, np.uint8), WIDTH, HEIGHT, "Mono8")

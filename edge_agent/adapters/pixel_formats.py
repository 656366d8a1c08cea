"""From the pixels that a GenICam camera sends to OpenCV's BGR."""

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.ports import Image

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

# Names of the Pixel Format Naming Convention (PFNC), with those of GigE Vision 1 behind.
# OpenCV names a Bayer pattern after the second pixels of rows 2 and 3, GenICam after the first.
BAYER = {
    "RG": cv2.COLOR_BayerBG2BGR,
    "GB": cv2.COLOR_BayerGR2BGR,
    "GR": cv2.COLOR_BayerGB2BGR,
    "BG": cv2.COLOR_BayerRG2BGR,
}
COLOURS: dict[str, tuple[int, int]] = {
    "Mono": (1, cv2.COLOR_GRAY2BGR),
    "RGB": (3, cv2.COLOR_RGB2BGR),
    "BGR": (3, -1),
    "RGBa": (4, cv2.COLOR_RGBA2BGR),
    "BGRa": (4, cv2.COLOR_BGRA2BGR),
    "YUV422_": (2, cv2.COLOR_YUV2BGR_UYVY),
    "YCbCr422_": (2, cv2.COLOR_YUV2BGR_YUY2),
    **{f"Bayer{pattern}": (1, code) for pattern, code in BAYER.items()},
}
CODES = {
    0x01080001: "Mono8",
    0x01100003: "Mono10",
    0x01100005: "Mono12",
    0x01100007: "Mono16",
    0x01080008: "BayerGR8",
    0x01080009: "BayerRG8",
    0x0108000A: "BayerGB8",
    0x0108000B: "BayerBG8",
    0x02180014: "RGB8",
    0x02180015: "BGR8",
    0x02200016: "RGBa8",
    0x02200017: "BGRa8",
    0x0210001F: "YUV422_8_UYVY",
    0x02100032: "YUV422_8",
    0x0210003B: "YCbCr422_8",
}


class UnknownPixelFormatError(ValueError):
    """Nobody here knows how to read such pixels."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"pixel format {name} is not supported: set PixelFormat to Mono8, RGB8 or BayerRG8"
        )


def to_bgr(data: npt.NDArray[np.uint8], width: int, height: int, pixel_format: str) -> Image:
    """A picture of its own, whatever happens to ``data`` afterwards.

    Args:
        data: bytes of the frame, at least as many as the picture has; padding behind is ignored.
        width: pixels of a row.
        height: rows.
        pixel_format: PFNC name.

    Raises:
        UnknownPixelFormatError: the format is not one of those above.
        ValueError: there are fewer bytes than the picture needs.
    """
    num_channels, depth, convert = _reading(pixel_format)
    size = width * height * num_channels * (1 if depth == 8 else 2)
    if data.size < size:
        raise ValueError(f"{data.size} bytes instead of {size} for {width}x{height} {pixel_format}")
    pixels: Pixels = data[:size]
    if depth > 8:
        # Unpacked formats keep the value in the low bits of two bytes.
        pixels = (data[:size].view("<u2") >> (depth - 8)).astype(np.uint8)
    shape = (height, width) if num_channels == 1 else (height, width, num_channels)
    return convert(pixels.reshape(shape).astype(np.uint8, copy=False))


def _reading(name: str) -> tuple[int, int, Callable[[Pixels], Image]]:
    """Channels, bits and conversion of a format."""
    plain = name.removesuffix("Packed").removesuffix("_UYVY")
    if name == "YUV422_8":  # PFNC: YUYV; GigE Vision 1 called UYVY so
        return 2, 8, partial(_converted, code=cv2.COLOR_YUV2BGR_YUY2)
    stem = plain.rstrip("0123456789")
    depth = plain[len(stem) :]
    is_packed_tightly = name.endswith("Packed") and depth not in {"8", "16"}
    if stem not in COLOURS or depth not in {"8", "10", "12", "16"} or is_packed_tightly:
        raise UnknownPixelFormatError(name)
    num_channels, code = COLOURS[stem]
    return num_channels, int(depth), partial(_converted, code=code)


def _converted(pixels: Pixels, *, code: int) -> Image:
    return (
        np.array(pixels, np.uint8) if code < 0 else np.asarray(cv2.cvtColor(pixels, code), np.uint8)
    )

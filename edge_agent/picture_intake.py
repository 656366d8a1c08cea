"""Pictures from outside: looked at before they are decoded, so that a bomb does no harm."""

import cv2
import numpy as np

from edge_agent.errors import UnreadablePictureError
from edge_agent.ports import Image

PNG_START = b"\x89PNG\r\n\x1a\n"
JPEG_START = b"\xff\xd8"
# ITU T.81, table B.1: start-of-frame markers hold the size; C4, C8 and CC are other things.
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})


def read_size(data: bytes) -> tuple[int, int]:
    """Width and height that a JPEG or PNG announces, in pixels.

    What it is called by its sender does not matter, only what it begins with.

    Raises:
        UnreadablePictureError: it is neither, or is cut off before its size.
    """
    if data.startswith(PNG_START) and data[12:16] == b"IHDR" and len(data) >= 24:
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data.startswith(JPEG_START):
        return _jpeg_size(data)
    raise UnreadablePictureError("neither a JPEG nor a PNG")


def check_size(data: bytes, *, max_pixels: int) -> None:
    """Refuse what is no picture or announces too many pixels; costs microseconds.

    Raises:
        UnreadablePictureError: that is so.
    """
    width, height = read_size(data)
    if not 0 < width * height <= max_pixels:
        raise UnreadablePictureError(f"{width} x {height} pixels; {max_pixels} are allowed")


def decode(data: bytes, *, max_pixels: int) -> Image:
    """Decode a JPEG or PNG to ``(H, W, 3)`` BGR.

    Raises:
        UnreadablePictureError: it is neither, damaged, or has more than ``max_pixels``.
    """
    check_size(data, max_pixels=max_pixels)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise UnreadablePictureError("damaged") from error
    if image is None:
        raise UnreadablePictureError("damaged")
    return np.asarray(image, np.uint8)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in STANDALONE:
            at += 2
        elif marker in START_OF_FRAME:
            height = int.from_bytes(data[at + 5 : at + 7], "big")
            return int.from_bytes(data[at + 7 : at + 9], "big"), height
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise UnreadablePictureError("damaged: no size in the JPEG")

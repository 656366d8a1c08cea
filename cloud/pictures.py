"""Checking a picture from outside before anything decodes it."""

import struct
from dataclasses import dataclass

import cv2
import numpy as np

from cloud.errors import ImageRefusedError
from models.contract.messages import MAX_IMAGE_BYTES

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
# Markers of ITU T.81, table B.1. SOF: start of frame, holds the size; C4, C8 and CC are not frames.
_SOF = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_END_OF_IMAGE = b"\xff\xd9"
# Cameras pad after the end; farther from the end than this, the marker belongs to something else.
_MAX_PADDING_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class PictureInfo:
    """What the first bytes of a picture say."""

    content_type: str
    width_px: int
    height_px: int


def measure(content: bytes) -> PictureInfo:
    """Read type and size from the header; nothing is decoded, so a bomb costs nothing.

    Raises:
        ImageRefusedError: it is neither JPEG nor PNG, or the header is broken.
    """
    try:
        if content.startswith(_PNG):
            if content[12:16] != b"IHDR":
                raise ImageRefusedError("PNG without a header chunk")
            width, height = struct.unpack(">II", content[16:24])
            return PictureInfo("image/png", width, height)
        if content.startswith(_JPEG):
            width, height = _jpeg_size(content)
            return PictureInfo("image/jpeg", width, height)
    except (struct.error, IndexError) as error:
        raise ImageRefusedError("the picture ends within its header") from error
    raise ImageRefusedError("neither JPEG nor PNG")


def _jpeg_size(content: bytes) -> tuple[int, int]:
    position = 2
    while True:
        if content[position] != 0xFF:
            raise ImageRefusedError("JPEG with a broken header")
        marker = content[position + 1]
        position += 1 if marker == 0xFF else 2  # any number of FF may fill up before a marker
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            continue
        if marker in _SOF:
            height, width = struct.unpack(">HH", content[position + 3 : position + 7])
            return width, height
        position += struct.unpack(">H", content[position : position + 2])[0]


def check_picture(content: bytes, expected: PictureInfo, *, max_pixels: int) -> None:
    """Make sure that a picture is whole and is what its sender says.

    Raises:
        ImageRefusedError: too large, of another type or size, cut off, or not to be decoded.
    """
    if len(content) > MAX_IMAGE_BYTES:
        raise ImageRefusedError(f"{len(content)} bytes are over the limit of {MAX_IMAGE_BYTES}")
    found = measure(content)
    if found.content_type != expected.content_type:
        raise ImageRefusedError(f"{found.content_type} was sent as {expected.content_type}")
    if found.width_px * found.height_px > max_pixels:
        raise ImageRefusedError(
            f"{found.width_px} x {found.height_px} pixels are over the limit of {max_pixels}"
        )
    if found != expected:
        raise ImageRefusedError(
            f"it has {found.width_px} x {found.height_px} pixels, its sender says "
            f"{expected.width_px} x {expected.height_px}"
        )
    end = b"IEND" if found.content_type == "image/png" else _END_OF_IMAGE
    if end not in content[-_MAX_PADDING_BYTES:]:
        raise ImageRefusedError("the picture is cut off")
    _check_decodes(content)


def _check_decodes(content: bytes) -> None:
    data = np.frombuffer(content, dtype=np.uint8)
    try:
        # At an eighth of the size a JPEG decodes several times faster, with the same checks.
        picture = cv2.imdecode(data, cv2.IMREAD_REDUCED_GRAYSCALE_8)
    except cv2.error as error:
        raise ImageRefusedError("the picture cannot be decoded") from error
    if picture is None:
        raise ImageRefusedError("the picture cannot be decoded")

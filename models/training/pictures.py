"""Checks on a picture and its boxes before they may teach: pure, run in Spark's executors."""

import hashlib
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from models.detector.near_duplicates import picture_print
from models.detector.preprocess import Image
from models.training.dataset_formats import Annotation

MAX_PIXELS = 50_000_000
MIN_SIDE_PX = 8
# Less of a box than this inside the picture shows nothing.
MIN_VISIBLE_PX = 1.0
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8"
EXTENSIONS = {"jpeg": (".jpg", ".jpeg"), "png": (".png",)}
# Start-of-frame markers; C4, C8 and CC in their range mean other things.
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, slots=True)
class CheckedPicture:
    """What became of one picture of an import.

    Attributes:
        problem: why it is quarantined; empty when it may be used.
        image_id: SHA-256 of the file's bytes.
        width: in pixels.
        height: in pixels.
        boxes: in pixels, inside the picture.
        notes: what was odd but not a reason to refuse it, and refused boxes as ``box: reason``.
        print: tells near-duplicates; see `models.detector.near_duplicates`.
    """

    problem: str
    image_id: str = ""
    width: int = 0
    height: int = 0
    boxes: tuple[Annotation, ...] = ()
    notes: tuple[str, ...] = ()
    print: bytes = b""


def check_picture(
    data: bytes,
    file_name: str,
    boxes: Iterable[Annotation],
    *,
    is_relative: bool,
    labelled_size: tuple[int, int] | None = None,
) -> CheckedPicture:
    """Decode a picture and keep what of it can be used.

    Args:
        data: the file's bytes.
        file_name: for its extension.
        boxes: its labels.
        is_relative: boxes are in parts of the picture's size.
        labelled_size: width and height that the boxes were drawn on, where that is known.
    """
    kind, size = header(data)
    if size and size[0] * size[1] > MAX_PIXELS:
        return CheckedPicture(f"over {MAX_PIXELS // 1_000_000} megapixels")
    image = decode(data)
    if image is None:
        return CheckedPicture("broken picture")
    height, width = image.shape[:2]
    if height * width > MAX_PIXELS:
        return CheckedPicture(f"over {MAX_PIXELS // 1_000_000} megapixels")
    if min(height, width) < MIN_SIDE_PX:
        return CheckedPicture("picture too small")
    if labelled_size not in (None, (width, height)):
        # Scaled since, or turned by its EXIF entry: either way the boxes are beside the parts.
        return CheckedPicture("not of the size that its labels name")
    notes = []
    if kind and not file_name.lower().endswith(EXTENSIONS[kind]):
        notes.append(f"{kind} under another extension")
    kept: dict[Annotation, None] = {}
    for box in boxes:
        whole = scaled(box, width, height) if is_relative else box
        inside = clipped(whole, width, height)
        if inside in kept:
            notes.append("box: there twice")
        elif isinstance(inside, Annotation):
            kept[inside] = None
        else:
            notes.append(f"box: {inside}")
    return CheckedPicture(
        "",
        sha256_of(data),
        width,
        height,
        tuple(kept),
        tuple(notes),
        picture_print(image),
    )


def sha256_of(data: bytes) -> str:
    """Identity of a picture."""
    return hashlib.sha256(data).hexdigest()


def as_stored(data: bytes) -> bytes:
    """A picture that was found good, as JPEG or PNG: other kinds are encoded anew, without loss."""
    kind, _ = header(data)
    image = None if kind else decode(data)
    if image is None:
        return data
    _, encoded = cv2.imencode(".png", image)
    return bytes(encoded.tobytes())


def decode(data: bytes) -> Image | None:
    """Decode a picture to ``(H, W, 3)`` BGR; None when the bytes are not one."""
    if not data:
        return None
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, np.uint8)


def header(data: bytes) -> tuple[str, tuple[int, int] | None]:
    """Kind (``png``, ``jpeg`` or empty) and width and height of a picture, without decoding it."""
    if data.startswith(PNG_MAGIC) and len(data) >= 24:
        return "png", struct.unpack(">II", data[16:24])
    if data.startswith(JPEG_MAGIC):
        return "jpeg", _jpeg_size(data)
    return "", None


def scaled(box: Annotation, width: int, height: int) -> Annotation:
    """A relative box in pixels."""
    return Annotation(
        box.category, box.x * width, box.y * height, box.width * width, box.height * height
    )


def clipped(box: Annotation, width: int, height: int) -> Annotation | str:
    """The part of a box inside the picture, or why there is none."""
    if not all(map(math.isfinite, (box.x, box.y, box.width, box.height))):
        return "not a number"
    if box.width <= 0 or box.height <= 0:
        return "no area"
    x1, y1 = max(box.x, 0.0), max(box.y, 0.0)
    x2, y2 = min(box.x + box.width, width), min(box.y + box.height, height)
    if x2 - x1 < MIN_VISIBLE_PX or y2 - y1 < MIN_VISIBLE_PX:
        return "outside the picture" if x2 <= x1 or y2 <= y1 else "under one pixel"
    return Annotation(box.category, x1, y1, x2 - x1, y2 - y1)


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    place = 2
    while place + 9 < len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in JPEG_FRAMES:
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            return width, height
        (length,) = struct.unpack(">H", data[place + 2 : place + 4])
        place += 2 + length
    return None

"""What a picture looks like, in a few bytes: for near-duplicates and for drift. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

GRID = 16
MAX_DISTANCE = 24
"""Bits of 256. Rendered plates seen again (a pixel's shift, 3 % of light, noise, JPEG) differ in up
to 13, different plates of the same kind in 47 or more."""


@dataclass(frozen=True, slots=True)
class Look:
    """Fingerprint and exposure of one picture.

    Attributes:
        fingerprint: 64 hex digits; `distance` compares two.
        brightness: Mean grey level, 0 to 255.
        sharpness: Variance of the Laplacian at half size: falls when the lens gets dirty.
    """

    fingerprint: str
    brightness: float
    sharpness: float


def look_at(content: bytes) -> Look | None:
    """Take the look of an encoded picture; None when it cannot be decoded.

    The fingerprint is the difference hash (Krawetz 2013): whether it gets brighter from each field
    of a 16 x 17 grid to the next.
    """
    data = np.frombuffer(content, np.uint8)
    try:
        grey = cv2.imdecode(data, cv2.IMREAD_REDUCED_GRAYSCALE_2) if len(data) else None
    except cv2.error:
        return None
    if grey is None or min(grey.shape[:2]) < 1:
        return None
    fields = cv2.resize(grey, (GRID + 1, GRID), interpolation=cv2.INTER_AREA).astype(np.int16)
    bits = np.packbits((fields[:, 1:] > fields[:, :-1]).ravel())
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_32F))
    return Look(
        fingerprint=bits.tobytes().hex(),
        brightness=round(float(grey.mean()), 3),
        sharpness=round(float(deviation[0, 0]) ** 2, 3),
    )


def distance(first: str, second: str) -> int:
    """In how many bits two fingerprints differ."""
    return (int(first, 16) ^ int(second, 16)).bit_count()


def nearest(
    fingerprint: str, known: Iterable[tuple[str, str]], *, max_distance: int = MAX_DISTANCE
) -> str | None:
    """The group of the picture that looks most like this one; None when none looks alike.

    Args:
        fingerprint: Of the new picture.
        known: Fingerprint and group of each picture to compare with.
        max_distance: More different ones are not alike.
    """
    best: tuple[int, str] | None = None
    for other, group in known:
        bits = distance(fingerprint, other)
        if bits <= max_distance and (best is None or bits < best[0]):
            best = bits, group
    return best[1] if best else None

"""Whether pictures look alike: prints of `models.detector.near_duplicates`, compared. Pure."""

from collections.abc import Sequence

import cv2
import numpy as np

from models.detector.near_duplicates import picture_print

MAX_DIFFERENCE = 16
"""Levels by which no cell of the print of a picture alike differs. More than between duplicates of
one file, since a part that is looked at twice has moved by some pixels: three give 15; another
part gives 46 or more."""


def look_at(content: bytes) -> bytes | None:
    """Print of an encoded picture; None when it cannot be decoded."""
    data = np.frombuffer(content, np.uint8)
    try:
        # At half its size a JPEG decodes faster, and the print averages over more than that.
        picture = cv2.imdecode(data, cv2.IMREAD_REDUCED_COLOR_2) if len(data) else None
    except cv2.error:
        return None
    return picture_print(np.asarray(picture, np.uint8)) if picture is not None else None


def nearest(
    print_: bytes, known: Sequence[tuple[bytes, str]], *, max_difference: int = MAX_DIFFERENCE
) -> str | None:
    """The group of the picture that looks most like this one; None when none looks alike.

    Args:
        print_: Of the new picture.
        known: Print and group of each picture to compare with; the first of equals is taken.
        max_difference: More different ones are not alike.
    """
    same_size = [(other, group) for other, group in known if len(other) == len(print_)]
    if not same_size:
        return None
    others = np.frombuffer(b"".join(other for other, _ in same_size), np.uint8)
    cells = np.frombuffer(print_, np.uint8).astype(np.int16)
    apart = np.abs(others.reshape(len(same_size), -1) - cells).max(axis=1)
    best = int(apart.argmin())
    return same_size[best][1] if apart[best] <= max_difference else None

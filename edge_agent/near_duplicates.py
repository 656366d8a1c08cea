"""Pictures that show the same part in the same place again."""

from collections import deque

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.ports import Image

Thumbnail = npt.NDArray[np.int16]

THUMBNAIL_PX = (32, 24)
"""Columns and rows: a cell of a 640 x 512 picture averages about 430 pixels, which takes the
sensor's noise down to a twentieth and still shows a label's torn corner."""
MAX_DIFFERENCE = 5
"""Grey levels by which no cell of a near-duplicate differs. Perceptual hashes call all parts of
one type duplicates of each other, with or without the defect."""


class NearDuplicates:
    """Remembers the last pictures that were kept; not thread-safe.

    Args:
        num_remembered: how many.
    """

    def __init__(self, num_remembered: int = 64) -> None:
        self._kept: deque[Thumbnail] = deque(maxlen=num_remembered)

    def has(self, thumbnail: Thumbnail) -> bool:
        """Whether one that is nearly the same was kept lately."""
        return any(
            int(np.abs(thumbnail - kept).max(initial=0)) <= MAX_DIFFERENCE for kept in self._kept
        )

    def add(self, thumbnail: Thumbnail) -> None:
        """Remember one that is kept."""
        self._kept.append(thumbnail)


def make_thumbnail(image: Image) -> Thumbnail:
    """Small grey picture around mean 0, so that a flicker of the light makes no difference."""
    small = cv2.resize(image, THUMBNAIL_PX, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.int16)
    thumbnail: Thumbnail = grey - np.int16(round(float(grey.mean())))
    return thumbnail

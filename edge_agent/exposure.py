"""How bright and how sharp a picture is, for watching lamp and lens over weeks. No I/O.

Measured beside the record, after the verdict: nothing waits for it.
"""

from typing import NamedTuple

import cv2
import numpy as np

from edge_agent.ports import Image

MAX_PX = 160_000
"""About 0.3 ms on either look, however large the picture is."""


class Exposure(NamedTuple):
    """What a camera's picture says about its light and focus."""

    mean_grey: float
    """0 to 255."""
    sharpness: float
    """Variance of the Laplacian in the middle of the picture."""


def exposure_of(image: Image) -> Exposure:
    """Measure a picture.

    Args:
        image: ``(H, W, 3)`` BGR.
    """
    height, width = image.shape[:2]
    # Whole rows for the brightness; for the sharpness a window in full resolution, since leaving
    # out pixels would make every picture look sharp.
    step = max(1, round(height * width / MAX_PX))
    rows = cv2.cvtColor(np.ascontiguousarray(image[::step]), cv2.COLOR_BGR2GRAY)
    share = min(1.0, (MAX_PX / (height * width)) ** 0.5)
    tall, wide = max(1, int(height * share)), max(1, int(width * share))
    top, left = (height - tall) // 2, (width - wide) // 2
    window = np.ascontiguousarray(image[top : top + tall, left : left + wide])
    grey = cv2.cvtColor(window, cv2.COLOR_BGR2GRAY)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    return Exposure(
        mean_grey=round(float(cv2.mean(rows)[0]), 2),
        sharpness=round(float(deviation[0, 0]) ** 2, 2),
    )

"""How bright and how sharp a picture is, for watching lamp and lens over weeks. No I/O.

Measured beside the record, after the verdict: nothing waits for it.
"""

from typing import NamedTuple

from edge_agent.image_checks import mean_grey, sharpness_of
from edge_agent.ports import Image

MAX_PX = 60_000
"""About 0.1 ms for both looks, however large the picture is."""


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
    # A window in full resolution: leaving out pixels would make every picture look sharp.
    share = min(1.0, (MAX_PX / (height * width)) ** 0.5)
    tall, wide = max(1, int(height * share)), max(1, int(width * share))
    top, left = (height - tall) // 2, (width - wide) // 2
    window = image[top : top + tall, left : left + wide]
    return Exposure(
        mean_grey=round(mean_grey(image, max(1, MAX_PX // width)), 2),
        sharpness=round(sharpness_of(window), 2),
    )

"""Whether a picture is good enough to judge a part by. No I/O."""

import cv2
import numpy as np

from edge_agent.ports import Image
from models.contract.messages import Reason, ReasonCode
from models.contract.recipe import ImageChecks, Recipe

SATURATED_GREY = 250
WHOLE_UP_TO_BYTES = 4 << 20
"""Brightness is measured on the whole of a picture up to this size: the resize that comes next then
finds it in the cache, and both together take less time. More would not stay there."""
MEASURED_ROWS = 24
"""Rows of a larger picture: all of one with 5 MP would cost half a millisecond."""


def check_picture(image: Image, recipe: Recipe, previous: Image | None = None) -> Reason | None:
    """Why a picture cannot be judged, or None.

    Args:
        image: ``(H, W, 3)`` BGR.
        recipe: its picture size and its limits.
        previous: the picture before, to notice a camera that repeats itself.
    """
    height, width = image.shape[:2]
    if (width, height) != (recipe.image_width_px, recipe.image_height_px):
        wanted = f"{recipe.image_width_px}x{recipe.image_height_px}"
        return _reason(
            ReasonCode.WRONG_SIZE, f"picture is {width}x{height}, recipe asks for {wanted}"
        )
    checks = recipe.image_checks
    # Brightness first: a picture all black or all white is the same each time, and says why.
    dark_or_bright = _brightness_fault(image, checks)
    if dark_or_bright is not None:
        return dark_or_bright
    if checks.refuse_frozen and previous is not None and _is_same(image, previous):
        return _reason(ReasonCode.FROZEN, "picture is the same as the one before, to the byte")
    return _sharpness_fault(image, checks)


def brightness_of(image: Image) -> tuple[float, float]:
    """Mean grey value, and the share of the picture that is saturated."""
    return mean_grey(image), _saturated_ratio(image)


def mean_grey(image: Image, num_rows: int | None = None) -> float:
    """Mean grey value, 0 to 255.

    Args:
        image: ``(H, W, 3)`` BGR.
        num_rows: look at about so many rows from top to bottom; None: at as much as is quick.
            Leaving out columns as well would cost twenty times as much as the look itself.
    """
    blue, green, red, _ = cv2.mean(_some_rows(image, num_rows))
    return 0.114 * blue + 0.587 * green + 0.299 * red


def sharpness_of(image: Image) -> float:
    """Variance of the Laplacian."""
    # In full resolution: thinning out pixels would make every picture look sharp.
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    edges = cv2.Laplacian(grey, cv2.CV_16S)
    # cv2.meanStdDev says the same and takes thirteen times as long.
    mean, squares = cv2.mean(edges)[0], cv2.norm(edges, cv2.NORM_L2SQR)
    variance: float = squares / edges.size - mean**2
    return max(variance, 0.0)


def _brightness_fault(image: Image, checks: ImageChecks) -> Reason | None:
    mean, limit = mean_grey(image), checks.max_saturated_ratio
    if mean < checks.min_mean:
        return _reason(ReasonCode.BLACK, f"mean grey {mean:.1f} is under {checks.min_mean:g}")
    # So many saturated pixels alone would make the picture brighter than it is.
    if mean <= limit * (SATURATED_GREY - 1):
        return None
    ratio = _saturated_ratio(image)
    if ratio > limit:
        return _reason(
            ReasonCode.OVEREXPOSED, f"{ratio:.0%} of the picture is saturated, limit {limit:.0%}"
        )
    return None


def _saturated_ratio(image: Image) -> float:
    rows = np.ascontiguousarray(_some_rows(image))
    grey = cv2.cvtColor(rows, cv2.COLOR_BGR2GRAY)
    _, bright = cv2.threshold(grey, SATURATED_GREY - 1, 255, cv2.THRESH_BINARY)
    return cv2.countNonZero(bright) / int(grey.size)


def _some_rows(image: Image, count: int | None = None) -> Image:
    if count is None:
        if image.size <= WHOLE_UP_TO_BYTES:
            return image
        count = MEASURED_ROWS
    return image[:: max(1, len(image) // count)]


def _sharpness_fault(image: Image, checks: ImageChecks) -> Reason | None:
    if checks.min_sharpness <= 0:
        return None
    sharpness = sharpness_of(image)
    if sharpness < checks.min_sharpness:
        return _reason(
            ReasonCode.BLURRED, f"sharpness {sharpness:.1f} is under {checks.min_sharpness:g}"
        )
    return None


def _is_same(image: Image, previous: Image) -> bool:
    if image.shape != previous.shape:
        return False
    # Sensor noise tells two pictures apart in one row; only equal rows cost a full look.
    middle = image.shape[0] // 2
    if image[middle].tobytes() != previous[middle].tobytes():
        return False
    return np.array_equal(image, previous)


def _reason(code: ReasonCode, text: str) -> Reason:
    return Reason(code=code, text=text)

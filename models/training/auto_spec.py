"""Choose a detector's geometry from the boxes that it must find."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.detector.anchors import fit_anchors
from models.detector.spec import DetectorSpec
from models.training.snapshot_io import IndexRow

# Both input sides are multiples of this, so that maps of all strides cover the same picture.
SIDE_STEP_PX = 32
# A box narrower than this at the input is found badly at any stride.
WANTED_BOX_PX = 24.0
SIDE_RANGE_PX = (256, 640)
# Boxes this many strides wide are still the business of the level below.
STRIDES_PER_LEVEL = 5.0


@dataclass(frozen=True, slots=True)
class SpecWishes:
    """What the caller wants otherwise than chosen from the data; None: no wish."""

    input_width: int | None = None
    input_height: int | None = None
    width_multiplier: float = 1.0
    levels: tuple[int, ...] | None = None
    neck: str = "fpnlite"


def choose_spec(
    rows: Sequence[IndexRow], categories: Sequence[str], wishes: SpecWishes
) -> DetectorSpec:
    """A spec for training pictures.

    The input has the pictures' shape and is just large enough to show the smaller boxes with
    `WANTED_BOX_PX`; levels reach from the smallest boxes to the largest; anchors are fitted.

    Raises:
        ValueError: the wishes contradict one another.
    """
    width, height = _input_size(rows, wishes)
    sizes = np.array(
        [
            (box[3] * width / row.width, box[4] * height / row.height)
            for row in rows
            for box in row.boxes
        ],
        np.float32,
    ).reshape(-1, 2)
    levels = wishes.levels or choose_levels(sizes)
    return DetectorSpec.model_validate(
        {
            "categories": tuple(categories),
            "input_width": width,
            "input_height": height,
            "width_multiplier": wishes.width_multiplier,
            "levels": levels,
            "anchors": fit_anchors(sizes, levels),
            "neck": wishes.neck,
        }
    )


def choose_levels(sizes: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> tuple[int, ...]:
    """Strides for boxes of these widths and heights at the input, ``(N, 2)``."""
    if not len(sizes):
        return (8, 16, 32)
    extents = np.sqrt(sizes.prod(axis=1))
    small, large = np.percentile(extents, [5, 95])
    levels = [stride for stride in (8, 16, 32, 64) if small <= stride * STRIDES_PER_LEVEL * 2]
    deepest = next((s for s in levels if large <= s * STRIDES_PER_LEVEL), levels[-1])
    # Two levels at least: context helps even where all boxes have one size.
    count = max(2, levels.index(deepest) + 1)
    return tuple(levels[:count])


def _input_size(rows: Sequence[IndexRow], wishes: SpecWishes) -> tuple[int, int]:
    width = float(np.median([row.width for row in rows]))
    height = float(np.median([row.height for row in rows]))
    narrow = [min(box[3], box[4]) for row in rows for box in row.boxes]
    ratio = WANTED_BOX_PX / float(np.percentile(narrow, 25)) if narrow else 1.0
    low, high = SIDE_RANGE_PX
    ratio = float(np.clip(ratio, low / max(width, height), high / max(width, height)))
    ratio = min(ratio, 1.0) if max(width, height) >= low else ratio
    return (
        wishes.input_width or _stepped(width * ratio),
        wishes.input_height or _stepped(height * ratio),
    )


def _stepped(side: float) -> int:
    return max(SIDE_STEP_PX, round(side / SIDE_STEP_PX) * SIDE_STEP_PX)

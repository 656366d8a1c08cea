"""Choose how to train from the labels: scale, windows, levels, anchors, turns, batch.

Every choice comes with its reason, is printed before the first step, and can be overridden.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.detector.anchors import default_anchors, fit_anchors
from models.detector.spec import AnchorSize, DetectorSpec
from models.training.fit_settings import RARE_RATIO
from models.training.snapshot_io import IndexRow

Sizes = npt.NDArray[np.float32]
"""``(N, 2)`` widths and heights in pixels."""
Anchors = tuple[tuple[AnchorSize, ...], ...]

# Input sides are multiples of this, so that maps of all strides cover the same picture.
SIDE_STEP_PX = 32
# The smaller boxes are shown at least this narrow where the picture has the pixels, and up to the
# second where the budget has the time; more costs time in training and on the cell for nothing.
WANTED_BOX_PX = (32.0, 48.0)
# Shrinking by less than this costs detail and saves little.
KEPT_SCALE = 0.7
SHORTEST_LONG_SIDE_PX = 256
LONGEST_SIDE_PX = 1024
# Boxes this many strides wide are still the business of the level below.
STRIDES_PER_LEVEL = 5.0
# The strides whose maps come pretrained; what lies deeper would have to be learnt from nothing.
AUTO_LEVELS = (8, 16, 32)
# A window shows a box with something round it, and is no smaller than a usual input.
WINDOW_SIDE_PX = 320
WINDOW_PER_BOX = 1.3
# Windows pay where the whole picture has at least this many times their pixels.
WINDOW_GAIN = 2.0
# A window that leaves out no more than the border would only cut objects in two.
WINDOW_PART = 0.7
# A network must see each picture about this often, and so many in all; a larger input that would
# not leave the time is not worth it.
WANTED_EPOCHS = 30
WANTED_SHOWINGS = 8000
# Pixels that one core trains in a second (MobileNetV2 to stride 16, two Zen 4 cores).
PIXELS_PER_CORE_S = 0.8e6
# It is steps that teach, as far as they can be had: on DeepPCB 4,000 windows made mAP@0.5 .83 in
# batches of 16, .89 in batches of 8 and .92 in batches of 4. A long fit has steps enough.
WANTED_STEPS = 6000
BATCHES = (4, 8, 16)
# Where boxes lie anywhere, a grid of their places is nearly evenly filled; a part that is always
# held in the same way leaves most of it empty. A box that nearly fills the picture says nothing.
LEAST_ROOM = 0.2
GRID_CELLS = 6
FREE_EVENNESS = 0.85
MIN_BOXES_FOR_EVENNESS = 60
# Mean of the logarithm of width / height under which boxes are as often wide as tall.
EVEN_ASPECT = 0.2
PASTE_PROBABILITY = 0.3


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the caller wants otherwise than chosen from the data; None: no wish."""

    input_width: int | None = None
    input_height: int | None = None
    width_multiplier: float = 1.0
    levels: tuple[int, ...] | None = None
    neck: str = "fpnlite"
    auto: bool = True
    """False: nothing is chosen from the data."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What was chosen.

    Attributes:
        spec: of the detector.
        settings: fields of `models.training.fit_settings.FitSettings`.
        reasons: one sentence for each choice.
    """

    spec: DetectorSpec
    settings: dict[str, Any]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What the choices are made from.

    Attributes:
        num_pictures: for training.
        width: usual width of a picture.
        height: usual height.
        sizes: of all boxes, in pixels of a picture of the usual size.
        centers: of all boxes, ``(N, 2)`` in parts of the picture.
    """

    num_pictures: int
    width: float
    height: float
    sizes: Sizes
    centers: Sizes

    @property
    def narrow_px(self) -> float:
        """Shorter side of the smaller boxes; infinite where there are none."""
        return float(np.percentile(self.sizes.min(axis=1), 25)) if len(self.sizes) else math.inf

    @property
    def long_px(self) -> float:
        """Longer side of the longer boxes."""
        return float(np.percentile(self.sizes.max(axis=1), 95)) if len(self.sizes) else 0.0


def facts_of(rows: Sequence[IndexRow]) -> DataFacts:
    """Facts about training pictures."""
    width = float(np.median([row.width for row in rows]))
    height = float(np.median([row.height for row in rows]))
    relative = np.array(
        [
            (
                (box[1] + box[3] / 2) / row.width,
                (box[2] + box[4] / 2) / row.height,
                box[3] / row.width,
                box[4] / row.height,
            )
            for row in rows
            for box in row.boxes
        ],
        np.float32,
    ).reshape(-1, 4)
    sizes = relative[:, 2:] * np.array([width, height], np.float32)
    return DataFacts(len(rows), width, height, sizes, relative[:, :2])


def choose_setup(
    rows: Sequence[IndexRow],
    categories: Sequence[str],
    wishes: Wishes,
    *,
    budget_s: float | None = None,
    cores: int = 2,
) -> Setup:
    """A detector and a training for pictures that it has never seen.

    Args:
        rows: training pictures.
        categories: names in class-id order.
        wishes: of the caller.
        budget_s: wall time of the fit, if it has one.
        cores: that train.

    Raises:
        ValueError: the wishes contradict one another.
    """
    if not wishes.auto:
        return _plain_setup(categories, wishes)
    facts = facts_of(rows)
    width, height, why_size = _input_size(facts, wishes, budget_s, cores)
    sizes = facts.sizes * np.array([width / facts.width, height / facts.height], np.float32)
    levels = wishes.levels or choose_levels(sizes)
    spec = _spec(categories, (width, height), levels, fit_anchors(sizes, levels), wishes)
    training = choose_training(rows, spec, budget_s=budget_s, cores=cores)
    reasons = (
        f"input {width}x{height}: {why_size}",
        f"levels {', '.join(map(str, levels))}: {_why_levels(sizes, wishes)}",
        f"{spec.num_anchors} anchors: fitted to {len(sizes)} boxes",
        *training.reasons,
    )
    return Setup(spec, training.settings, reasons)


def _plain_setup(categories: Sequence[str], wishes: Wishes) -> Setup:
    """The geometry of the published SSDLite at 320 px, whatever the data."""
    size = (wishes.input_width or WINDOW_SIDE_PX, wishes.input_height or WINDOW_SIDE_PX)
    levels = wishes.levels or AUTO_LEVELS
    spec = _spec(categories, size, levels, default_anchors(levels), wishes)
    return Setup(spec, {}, ("nothing was chosen from the data (--no-auto)",))


def _spec(
    categories: Sequence[str],
    size: tuple[int, int],
    levels: tuple[int, ...],
    anchors: Anchors,
    wishes: Wishes,
) -> DetectorSpec:
    return DetectorSpec.model_validate(
        {
            "categories": tuple(categories),
            "input_width": size[0],
            "input_height": size[1],
            "width_multiplier": wishes.width_multiplier,
            "levels": levels,
            "anchors": anchors,
            "neck": wishes.neck,
        }
    )


def choose_training(
    rows: Sequence[IndexRow],
    spec: DetectorSpec,
    *,
    budget_s: float | None = None,
    cores: int = 2,
) -> Setup:
    """How to train a detector whose geometry is given, as that of a bundle is."""
    facts = facts_of(rows)
    sizes = facts.sizes * np.array(
        [spec.input_width / facts.width, spec.input_height / facts.height], np.float32
    )
    window = choose_window(sizes, spec.input_width, spec.input_height)
    pixels = window**2 or spec.input_width * spec.input_height
    batch, why_batch = _batch(pixels, budget_s, cores)
    settings: dict[str, Any] = {"batch": batch}
    reasons = [f"batch {batch}: {why_batch}"]
    if window:
        settings |= {"window_width": window, "window_height": window}
        reasons.append(
            f"windows of {window}x{window}: boxes are small beside the picture, so a step sees "
            "more of them at the scale of the cell"
        )
    lies_anywhere = _lies_anywhere(facts)
    is_square = window > 0 or abs(math.log(spec.input_width / spec.input_height)) < EVEN_ASPECT / 2
    settings["flip_vertical"] = lies_anywhere
    settings["quarter_turns"] = lies_anywhere and is_square and _is_as_wide_as_tall(facts)
    reasons.append(_why_turns(settings, lies_anywhere=lies_anywhere))
    if lies_anywhere and _has_rare_class(rows):
        settings["paste_probability"] = PASTE_PROBABILITY
        reasons.append("rare defects are pasted into other pictures: they lie anywhere")
    return Setup(spec, settings, tuple(reasons))


def choose_levels(sizes: Sizes) -> tuple[int, ...]:
    """Strides for boxes of these widths and heights at the input, ``(N, 2)``."""
    if not len(sizes):
        return (8, 16, 32)
    small, large = np.percentile(np.sqrt(sizes.prod(axis=1)), [5, 95])
    # A long thin box has a small area, and its middle must still see its ends.
    large = max(large, float(np.percentile(sizes.max(axis=1), 95)) / 2)
    levels = [stride for stride in AUTO_LEVELS if small <= stride * STRIDES_PER_LEVEL * 2]
    deepest = next((s for s in levels if large <= s * STRIDES_PER_LEVEL), levels[-1])
    # Two levels at least: context helps even where all boxes have one size.
    count = max(2, levels.index(deepest) + 1)
    return tuple(levels[:count])


def choose_window(sizes: Sizes, width: int, height: int) -> int:
    """Side of the square windows to train on; 0: whole pictures.

    Args:
        sizes: of the boxes at the input.
        width: of the input.
        height: of the input.
    """
    if not len(sizes):
        return 0
    needed = float(np.percentile(sizes.max(axis=1), 95)) * WINDOW_PER_BOX
    side = max(WINDOW_SIDE_PX, math.ceil(needed / SIDE_STEP_PX) * SIDE_STEP_PX)
    pays = width * height >= WINDOW_GAIN * side * side
    return side if pays and side <= WINDOW_PART * min(width, height) else 0


def _input_size(
    facts: DataFacts, wishes: Wishes, budget_s: float | None, cores: int
) -> tuple[int, int, str]:
    scale, why = _scale(facts, budget_s, cores)
    if wishes.input_width or wishes.input_height:
        why = "as asked for"
    return (
        wishes.input_width or _stepped(facts.width * scale),
        wishes.input_height or _stepped(facts.height * scale),
        why,
    )


def _scale(facts: DataFacts, budget_s: float | None, cores: int) -> tuple[float, str]:
    """Input pixels for each pixel of a picture, and why."""
    longest = max(facts.width, facts.height)
    least, enough = (wanted / facts.narrow_px for wanted in WANTED_BOX_PX)
    if longest < SHORTEST_LONG_SIDE_PX:
        return SHORTEST_LONG_SIDE_PX / longest, "the pictures are small"
    if least >= KEPT_SCALE:
        if longest <= LONGEST_SIDE_PX:
            return 1.0, f"the smaller boxes are {facts.narrow_px:.0f} px narrow: native size"
        return LONGEST_SIDE_PX / longest, f"as large as {LONGEST_SIDE_PX} px a side allow"
    least = max(least, SHORTEST_LONG_SIDE_PX / longest)
    affordable = _affordable_scale(facts, budget_s, cores)
    scale = max(least, min(1.0, enough, affordable, LONGEST_SIDE_PX / longest))
    limit = "the budget allows no more" if affordable < enough else "more would add nothing"
    return scale, f"the smaller boxes, {facts.narrow_px:.0f} px narrow, bear shrinking; {limit}"


def _affordable_scale(facts: DataFacts, budget_s: float | None, cores: int) -> float:
    """The scale at which the budget still shows whole pictures often enough."""
    if budget_s is None:
        return 0.0
    showings = max(WANTED_SHOWINGS, WANTED_EPOCHS * facts.num_pictures)
    pixels = budget_s * cores * PIXELS_PER_CORE_S / showings
    return math.sqrt(pixels / (facts.width * facts.height))


def _batch(pixels: int, budget_s: float | None, cores: int) -> tuple[int, str]:
    """Pictures of a step, for pictures of so many pixels."""
    if budget_s is None:
        return BATCHES[1], "no budget to choose it from"
    showings = budget_s * cores * PIXELS_PER_CORE_S / pixels
    fitting = [batch for batch in BATCHES if showings / batch >= WANTED_STEPS]
    batch = max(fitting, default=BATCHES[0])
    return batch, f"about {showings / batch:,.0f} steps in the budget"


def _lies_anywhere(facts: DataFacts) -> bool:
    """Whether boxes turn up all over the picture, so that no way up is the right one."""
    # Where in its room a box lies: a large one has its centre near the middle wherever it is.
    relative = facts.sizes / np.array([facts.width, facts.height], np.float32)
    room = 1 - relative
    free = (room > LEAST_ROOM).all(axis=1)
    if free.sum() < MIN_BOXES_FOR_EVENNESS:
        return False
    places = ((facts.centers - relative / 2) / np.maximum(room, LEAST_ROOM))[free]
    cells = np.clip((places * GRID_CELLS).astype(int), 0, GRID_CELLS - 1)
    counts = np.bincount(cells[:, 1] * GRID_CELLS + cells[:, 0], minlength=GRID_CELLS**2)
    shares = counts[counts > 0] / counts.sum()
    evenness = -(shares * np.log(shares)).sum() / math.log(GRID_CELLS**2)
    return bool(evenness >= FREE_EVENNESS)


def _is_as_wide_as_tall(facts: DataFacts) -> bool:
    ratios = np.log(np.maximum(facts.sizes[:, 0], 1) / np.maximum(facts.sizes[:, 1], 1))
    return bool(abs(ratios.mean()) < EVEN_ASPECT)


def _has_rare_class(rows: Sequence[IndexRow]) -> bool:
    counts = Counter(box[0] for row in rows for box in row.boxes)
    return min(counts.values()) < RARE_RATIO * max(counts.values())


def _why_levels(sizes: Sizes, wishes: Wishes) -> str:
    if wishes.levels:
        return "as asked for"
    if not len(sizes):
        return "no boxes to choose them from"
    small, large = np.percentile(np.sqrt(sizes.prod(axis=1)), [5, 95])
    return f"boxes of {small:.0f} to {large:.0f} px at the input"


def _why_turns(settings: dict[str, Any], *, lies_anywhere: bool) -> str:
    if settings["quarter_turns"]:
        return "flips and quarter turns: boxes lie anywhere and as often wide as tall"
    if lies_anywhere:
        return "flips both ways, no quarter turns: boxes lie anywhere but keep their direction"
    return "flips left to right only: boxes keep their places"


def _stepped(side: float) -> int:
    return max(SIDE_STEP_PX, round(side / SIDE_STEP_PX) * SIDE_STEP_PX)

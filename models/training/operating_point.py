"""Operating points: the score from which a box counts, chosen from what mistakes cost.

A *miss* is a labelled box that is not found from the threshold up, a *false alarm* a box that meets
no label. What they mean depends on the category:

========  =======================================  ==========================================
category  miss                                     false alarm
========  =======================================  ==========================================
defect    the bad part passes: an escape           the good part is rejected: a false reject
object    it seems to be missing: a false reject   it may stand in for one that is missing: an
                                                   escape. Where none is missing, or over one that
                                                   is there, it hides nothing: a false reject
========  =======================================  ==========================================

Costs are counted on pictures like the validation pictures. Where bad parts are rarer on the line
than there, an escape happens less often than here: lower its cost in the same ratio.
"""

from collections.abc import Container, Mapping, Sequence

import numpy as np
from pydantic import Field

from models.contract.model import Frozen
from models.training.answers import Found, Truth
from models.training.box_matching import ClassMatches, Flags, Floats, match_boxes

# Scores that may become a threshold; finer steps than this mean nothing.
THRESHOLD_GRID = np.round(np.arange(0.05, 0.951, 0.01), 2)
DEFAULT_THRESHOLD = 0.4


class Costs(Frozen):
    """What mistakes cost, relative to each other."""

    escape: float = Field(default=10.0, gt=0)
    false_reject: float = Field(default=1.0, gt=0)


class Curve(Frozen):
    """What each threshold of one category would give on the pictures that it was chosen on.

    Attributes:
        thresholds: rising.
        recall: share of the labelled boxes that are found; None where none is labelled.
        precision: share of the found boxes that are right; None where none is found.
        false_alarms_per_image: boxes that meet no label.
        expected_cost: of misses and false alarms, for each picture.
        chosen: the threshold that was taken.
        best: the threshold that these pictures ask for; ``chosen`` is lower where an earlier
            model's operating point was.
    """

    thresholds: tuple[float, ...]
    recall: tuple[float | None, ...]
    precision: tuple[float | None, ...]
    false_alarms_per_image: tuple[float, ...]
    expected_cost: tuple[float, ...]
    chosen: float
    best: float
    num_boxes: int = Field(ge=0)

    def at(self, threshold: float) -> int:
        """Place of the threshold that is nearest."""
        return int(np.abs(np.asarray(self.thresholds) - threshold).argmin())


def choose_thresholds(
    truths: Sequence[Truth],
    found: Sequence[Found],
    categories: Sequence[str],
    *,
    defects: Container[str] = frozenset(),
    costs: Costs | None = None,
) -> dict[str, float]:
    """The cheapest threshold of each category.

    To be chosen on validation pictures, never on those that judge the model.
    """
    matches = match_boxes(truths, found, categories)
    return {
        name: cheapest(matches[name], is_defect=name in defects, costs=costs or Costs())
        for name in categories
    }


def cheapest(matches: ClassMatches, *, is_defect: bool, costs: Costs) -> float:
    """The threshold with the lowest expected cost.

    Where several cost the same, the point lies a quarter up: false alarms end where that range
    begins, while the scores of objects thin out slowly below the lowest that a few pictures show.
    A category that is not labelled or never found gets the default.
    """
    if not matches.num_labels or not matches.hits.any():
        return DEFAULT_THRESHOLD
    cost = expected_cost(matches, is_defect=is_defect, costs=costs)
    best = np.flatnonzero(cost <= cost.min() + 1e-9)
    return float(THRESHOLD_GRID[best[len(best) // 4]])


def expected_cost(matches: ClassMatches, *, is_defect: bool, costs: Costs) -> Floats:
    """Cost of misses and false alarms for each picture, at every threshold of the grid."""
    of_miss = costs.escape if is_defect else costs.false_reject
    wrong = matches.scores[~matches.hits]
    if is_defect:
        of_false_alarm = np.full(len(wrong), costs.false_reject)
    else:
        hiding = may_hide(matches)[~matches.hits]
        of_false_alarm = np.where(hiding, costs.escape, costs.false_reject)
    missed = matches.num_labels - _count_from(matches.label_scores)
    alarms = (wrong[None] >= THRESHOLD_GRID[:, None]) @ of_false_alarm
    cost: Floats = (missed * of_miss + alarms) / max(1, matches.num_pictures)
    return cost


def may_hide(matches: ClassMatches) -> Flags:
    """``(N,)``: whether each box of an object could stand in for one that is missing.

    It can where nothing of its kind is, in a picture with fewer of them than the fullest one has.
    """
    labels = np.bincount(matches.label_pictures, minlength=matches.num_pictures)
    is_missing = labels < labels.max(initial=0)
    hiding: Flags = matches.stands_free() & is_missing[matches.pictures]
    return hiding


def curve_of(
    matches: ClassMatches, *, is_defect: bool, costs: Costs, chosen: float | None = None
) -> Curve:
    """Everything about one category's thresholds.

    Args:
        matches: on the pictures to choose on.
        is_defect: what a miss means.
        costs: of mistakes.
        chosen: the operating point, where it is not the cheapest.
    """
    best = cheapest(matches, is_defect=is_defect, costs=costs)
    right = _count_from(matches.scores[matches.hits])
    above = _count_from(matches.scores)
    cost = expected_cost(matches, is_defect=is_defect, costs=costs)
    return Curve(
        thresholds=tuple(THRESHOLD_GRID.tolist()),
        recall=_shares(right, np.full(len(right), matches.num_labels)),
        precision=_shares(right, above),
        false_alarms_per_image=_rounded((above - right) / max(1, matches.num_pictures)),
        expected_cost=_rounded(cost),
        chosen=best if chosen is None else chosen,
        best=best,
        num_boxes=matches.num_labels,
    )


def not_above(chosen: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """Operating points that are no stricter than before.

    A few dozen validation pictures say little about where a threshold must lie; what they suggest
    may cost a defect that the running model finds, and that is the dearer mistake.
    """
    return {name: min(value, before.get(name, value)) for name, value in chosen.items()}


def _count_from(scores: Floats) -> Floats:
    """How many scores reach each threshold of the grid."""
    ordered = np.sort(scores)
    # A label that nothing met has score 0 and reaches no threshold.
    return (len(ordered) - np.searchsorted(ordered, THRESHOLD_GRID - 1e-9)).astype(float)


def _shares(parts: Floats, wholes: Floats) -> tuple[float | None, ...]:
    return tuple(
        round(float(part / whole), 4) if whole else None
        for part, whole in zip(parts, wholes, strict=True)
    )


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(round(float(value), 5) for value in values)

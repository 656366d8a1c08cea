"""Everything that a report and a card say about one model's answers beyond its mean figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import Field

from models.contract.bundle import Category, CategoryKind
from models.contract.model import Frozen
from models.contract.proportions import wilson_interval
from models.training.answers import Found, Truth
from models.training.box_matching import ClassMatches, match_boxes
from models.training.intervals import Interval, ap_intervals, precision_at_recalls
from models.training.mistakes import (
    CleanPictures,
    Confusion,
    Mistake,
    confusion_of,
    judge_clean_pictures,
    worst_mistakes,
)
from models.training.object_sizes import SizeTable, judge_sizes
from models.training.operating_point import DEFAULT_THRESHOLD, Costs, Curve, curve_of
from models.training.reliability import Reliability, reliability_of


class ClassAnalysis(Frozen):
    """One category on the judged pictures.

    Attributes:
        ap50_interval: 95 %, over pictures drawn anew.
        recall_interval: 95 % after Wilson, at the operating point.
        precision_at_recall: at the recalls 0, 0.01, … 1.
        curve: what each threshold gives on these pictures; the one to choose by is another's.
    """

    ap50_interval: Interval | None = None
    recall_interval: Interval | None = None
    precision_at_recall: tuple[float, ...] = ()
    curve: Curve
    reliability: Reliability


class Analysis(Frozen):
    """A model's answers looked at closely."""

    map50_interval: Interval | None = None
    num_pictures: int = Field(ge=0)
    per_class: dict[str, ClassAnalysis]
    sizes: SizeTable
    confusion: Confusion
    reliability: Reliability
    clean_pictures: CleanPictures


@dataclass(frozen=True, slots=True)
class Judged:
    """What an analysis is made of.

    Attributes:
        truths: labels of every judged picture.
        found: the answers.
        categories: of the model, with their kinds.
        thresholds: operating points.
        costs: of mistakes.
    """

    truths: Sequence[Truth]
    found: Sequence[Found]
    categories: Sequence[Category]
    thresholds: Mapping[str, float]
    costs: Costs = field(default_factory=Costs)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the categories."""
        return tuple(category.name for category in self.categories)

    @property
    def defects(self) -> frozenset[str]:
        """Names of the categories that must not be there."""
        return frozenset(
            category.name for category in self.categories if category.kind is CategoryKind.DEFECT
        )

    def points(self) -> dict[str, float]:
        """The operating point of every category."""
        return {name: self.thresholds.get(name, DEFAULT_THRESHOLD) for name in self.names}


def analyse(judged: Judged, *, num_mistakes: int = 24) -> tuple[Analysis, list[Mistake]]:
    """Look closely at a model's answers.

    Returns:
        The figures, and the worst mistakes, for the card.
    """
    points, defects = judged.points(), judged.defects
    matches = match_boxes(judged.truths, judged.found, judged.names)
    map50_interval, ap50_intervals = ap_intervals(matches)
    per_class = {
        name: ClassAnalysis(
            ap50_interval=ap50_intervals[name],
            recall_interval=_recall_interval(own, points[name]),
            precision_at_recall=tuple(precision_at_recalls(own).round(4).tolist()),
            curve=curve_of(own, is_defect=name in defects, costs=judged.costs, chosen=points[name]),
            reliability=reliability_of([own]),
        )
        for name, own in matches.items()
    }
    analysis = Analysis(
        map50_interval=map50_interval,
        num_pictures=len(judged.truths),
        per_class=per_class,
        sizes=judge_sizes(judged.truths, judged.found, matches, points),
        confusion=confusion_of(judged.truths, judged.found, judged.names, points),
        reliability=reliability_of(matches.values()),
        clean_pictures=judge_clean_pictures(judged.truths, judged.found, points, defects=defects),
    )
    ids = [truth.image_id for truth in judged.truths]
    mistakes = worst_mistakes(
        matches, points, ids, defects=defects, costs=judged.costs, count=num_mistakes
    )
    return analysis, mistakes


def _recall_interval(own: ClassMatches, threshold: float) -> Interval | None:
    if not own.num_labels:
        return None
    low, high = wilson_interval(int((own.label_scores >= threshold).sum()), own.num_labels)
    return round(low, 4), round(high, 4)

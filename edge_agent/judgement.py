"""From what the detector found to a verdict, by the rules of the recipe. No I/O."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.contract.messages import Reason, ReasonCode, Verdict
from models.contract.recipe import ExpectedObject, ForbiddenDefect, Recipe, View, Zone
from models.detector.detections import Detections

Mask = npt.NDArray[np.bool_]
Rule = tuple[ReasonCode, int]
"""Which rule of the view was broken: its kind and its place in the recipe."""


@dataclass(frozen=True, slots=True)
class LabelMap:
    """Names and operating points of the model that looked at the picture."""

    categories: tuple[str, ...]
    """In class-id order."""
    thresholds: Mapping[str, float]
    """Lowest score that counts, by category."""

    def min_score(self, category: str, wanted: float | None) -> float:
        """The recipe's limit, else the bundle's; a category without either counts from 0.5."""
        return wanted if wanted is not None else self.thresholds.get(category, 0.5)


def judge_view(
    pictures: Sequence[Detections], view: View, recipe: Recipe, label_map: LabelMap
) -> tuple[Verdict, tuple[Reason, ...]]:
    """Judge one view of a part.

    A rule counts as broken when it is broken in at least ``n`` of the ``m`` pictures; where there
    are fewer than ``n`` pictures, when it is broken in all of them.

    Args:
        pictures: what was found in each picture of the view, at least one.
        view: what must and may not be there.
        recipe: names ``n``.
        label_map: of the model that answered.

    Returns:
        OK without reasons, or NOT_OK with a reason for each broken rule.
    """
    broken: Counter[Rule] = Counter()
    texts: dict[Rule, Reason] = {}
    for detections in pictures:
        for rule, reason in _broken_rules(detections, view, label_map):
            broken[rule] += 1
            texts.setdefault(rule, reason)
    enough = min(recipe.n_of_m.n, len(pictures))
    reasons = tuple(texts[rule] for rule, times in broken.items() if times >= enough)
    return (Verdict.NOT_OK if reasons else Verdict.OK), reasons


def is_sound(detections: Detections) -> bool:
    """Whether the model answered with numbers; NaN compares as false and would pass a part."""
    return bool(np.isfinite(detections.scores).all() and np.isfinite(detections.boxes).all())


def unknown_expected(recipe: Recipe, categories: Iterable[str]) -> tuple[str, ...]:
    """Expected categories that the model does not know: every part would be rejected."""
    known = frozenset(categories)
    wanted = {item.category for view in recipe.views for item in view.expected}
    return tuple(sorted(wanted - known))


def unknown_forbidden(recipe: Recipe, categories: Iterable[str]) -> tuple[str, ...]:
    """Forbidden categories that the model cannot see yet: they are not checked."""
    known = frozenset(categories)
    wanted = {item.category for view in recipe.views for item in view.forbidden}
    return tuple(sorted(wanted - known))


def _broken_rules(
    detections: Detections, view: View, label_map: LabelMap
) -> Iterable[tuple[Rule, Reason]]:
    for index, item in enumerate(view.expected):
        found = int(_matches(detections, item, label_map).sum())
        if found < item.count:
            yield (ReasonCode.MISSING_OBJECT, index), _missing(item, found)
    for index, defect in enumerate(view.forbidden):
        hits = np.flatnonzero(_matches(detections, defect, label_map))
        if len(hits):
            yield (ReasonCode.DEFECT, index), _defect(defect, detections, hits)


def _matches(
    detections: Detections, item: ExpectedObject | ForbiddenDefect, label_map: LabelMap
) -> Mask:
    """``(N,)``: which boxes are of the item's category, score enough, and lie in its zone."""
    if item.category not in label_map.categories:
        return np.zeros(len(detections), np.bool_)
    class_id = label_map.categories.index(item.category)
    limit = label_map.min_score(item.category, item.min_score)
    # Scores are float32: a limit of 0.9 must not refuse a score that was written as 0.9.
    mask: Mask = (detections.class_ids == class_id) & (detections.scores >= np.float32(limit))
    if item.zone is not None:
        mask &= _centers_inside(detections, item.zone)
    if isinstance(item, ForbiddenDefect) and item.min_area_px > 0:
        sizes = detections.boxes[:, 2:] - detections.boxes[:, :2]
        mask &= sizes.prod(axis=1) >= item.min_area_px
    return mask


def _centers_inside(detections: Detections, zone: Zone) -> Mask:
    x = (detections.boxes[:, 0] + detections.boxes[:, 2]) / 2
    y = (detections.boxes[:, 1] + detections.boxes[:, 3]) / 2
    inside_x = (zone.x <= x) & (x < zone.x + zone.width)
    inside: Mask = inside_x & (zone.y <= y) & (y < zone.y + zone.height)
    return inside


def _missing(item: ExpectedObject, found: int) -> Reason:
    return Reason(
        code=ReasonCode.MISSING_OBJECT,
        category=item.category,
        object_name=item.name,
        text=f"{item.name}: {found} of {item.count} {item.category} found",
    )


def _defect(defect: ForbiddenDefect, detections: Detections, hits: npt.NDArray[np.intp]) -> Reason:
    best = int(hits[0])  # boxes come best first
    x1, y1, x2, y2 = (float(value) for value in detections.boxes[best])
    more = f" and {len(hits) - 1} more" if len(hits) > 1 else ""
    return Reason(
        code=ReasonCode.DEFECT,
        category=defect.category,
        text=f"{defect.category} ({detections.scores[best]:.2f}) at x {(x1 + x2) / 2:.0f} "
        f"y {(y1 + y2) / 2:.0f}{more}",
    )

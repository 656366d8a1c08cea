"""From what the detector found to a verdict, by the rules of the recipe. No I/O."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from models.contract.messages import Reason, ReasonCode, Verdict
from models.contract.recipe import ExpectedObject, ForbiddenDefect, Recipe, View, Zone
from models.detector.detections import Detections, Spot

MAX_VIEWS = 64
"""Views whose rules a label map remembers; a recipe has one to sixteen."""
_Borders = tuple[float, float, float, float]
"""Left, top, right, bottom; the last two belong to the zone no more."""
_EVERYWHERE = (-inf, -inf, inf, inf)
_UNKNOWN = -1
"""The class of a category that the model does not know: no box has it."""
Rule = tuple[ReasonCode, int]
"""Which rule of the view was broken: its kind and its place in the recipe."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """One line of a recipe in the model's terms: what a box must be like to count for it."""

    name: Rule
    class_id: int
    fewest: float
    """Boxes that must be there at least."""
    most: float
    min_score: float
    min_area_px: float
    zone: _Borders
    """Where the centre must lie."""


@dataclass(frozen=True, slots=True)
class _Rules:
    view: View
    rules: tuple[_Rule, ...]
    min_score: float
    """Lowest of all rules: boxes under it count for none."""


class LabelMap:
    """Names and operating points of the model that looked at the picture.

    Keep one as long as the model: it remembers what the views' rules come to for this model.

    Args:
        categories: names in class-id order.
        thresholds: lowest score that counts, by category.
    """

    def __init__(self, categories: tuple[str, ...], thresholds: Mapping[str, float]) -> None:
        self.categories = categories
        self._class_ids = {name: class_id for class_id, name in enumerate(categories)}
        self._thresholds = thresholds
        self._rules: dict[int, _Rules] = {}

    def rules_of(self, view: View) -> _Rules:
        """The view's rules in this model's terms."""
        known = self._rules.get(id(view))
        if known is not None and known.view is view:
            return known
        if len(self._rules) >= MAX_VIEWS:
            self._rules.clear()
        found = (
            *(
                self._rule((ReasonCode.MISSING_OBJECT, place), item, item.count, inf, 0.0)
                for place, item in enumerate(view.expected)
            ),
            *(
                self._rule((ReasonCode.DEFECT, place), item, 0, 0, item.min_area_px)
                for place, item in enumerate(view.forbidden)
            ),
        )
        min_score = min((rule.min_score for rule in found), default=inf)
        rules = self._rules[id(view)] = _Rules(view, found, min_score)
        return rules

    def _rule(
        self,
        name: Rule,
        item: ExpectedObject | ForbiddenDefect,
        fewest: float,
        most: float,
        min_area_px: float,
    ) -> _Rule:
        # The recipe's limit, else the bundle's; a category without either counts from 0.5.
        wanted = item.min_score
        limit = wanted if wanted is not None else self._thresholds.get(item.category, 0.5)
        # Scores are float32: a limit of 0.9 must not refuse a score that was written as 0.9.
        limit = float(np.float32(limit))
        class_id = self._class_ids.get(item.category, _UNKNOWN)
        return _Rule(name, class_id, fewest, most, limit, min_area_px, _borders(item.zone))


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

    Raises:
        NotFiniteError: a model answered with numbers that are none.
    """
    if len(pictures) == 1:  # nearly always: there is nothing to count
        reasons = tuple(reason for _, reason in _broken_rules(pictures[0], view, label_map))
    else:
        reasons = _agreed([_broken_rules(one, view, label_map) for one in pictures], recipe)
    return (Verdict.NOT_OK if reasons else Verdict.OK), reasons


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


def _agreed(
    pictures: Sequence[Iterable[tuple[Rule, Reason]]], recipe: Recipe
) -> tuple[Reason, ...]:
    broken: Counter[Rule] = Counter()
    texts: dict[Rule, Reason] = {}
    for rules in pictures:
        for rule, reason in rules:
            broken[rule] += 1
            texts.setdefault(rule, reason)
    enough = min(recipe.n_of_m.n, len(pictures))
    return tuple(texts[rule] for rule, times in broken.items() if times >= enough)


def _borders(zone: Zone | None) -> _Borders:
    if zone is None:
        return _EVERYWHERE
    return zone.x, zone.y, zone.x + zone.width, zone.y + zone.height


def _broken_rules(
    detections: Detections, view: View, label_map: LabelMap
) -> list[tuple[Rule, Reason]]:
    rules = label_map.rules_of(view)
    spots = detections.spots(rules.min_score)
    broken = []
    for rule in rules.rules:
        left, top, right, bottom = rule.zone
        min_score, min_area_px = rule.min_score, rule.min_area_px
        hits = []
        # In line: to call something for each rule takes as long as to look at its boxes.
        for spot in spots.get(rule.class_id, ()):
            score, x, y, area = spot
            if (
                left <= x < right
                and top <= y < bottom
                and score >= min_score
                and area >= min_area_px
            ):
                hits.append(spot)
        if not rule.fewest <= len(hits) <= rule.most:
            broken.append((rule.name, _reason(rule.name, view, hits)))
    return broken


def _reason(rule: Rule, view: View, hits: Sequence[Spot]) -> Reason:
    code, place = rule
    if code is ReasonCode.MISSING_OBJECT:
        return _missing(view.expected[place], len(hits))
    return _defect(view.forbidden[place], hits)


def _missing(item: ExpectedObject, found: int) -> Reason:
    return Reason(
        code=ReasonCode.MISSING_OBJECT,
        category=item.category,
        object_name=item.name,
        text=f"{item.name}: {found} of {item.count} {item.category} found",
    )


def _defect(defect: ForbiddenDefect, hits: Sequence[Spot]) -> Reason:
    score, x, y, _ = hits[0]  # boxes come best first
    more = f" and {len(hits) - 1} more" if len(hits) > 1 else ""
    return Reason(
        code=ReasonCode.DEFECT,
        category=defect.category,
        text=f"{defect.category} ({score:.2f}) at x {x:.0f} y {y:.0f}{more}",
    )

"""Chooses the hard examples of one cell: asks every reason, drops repeats, keeps the quotas.

Wiring: one `Miner` for the recorder's thread::

    miner = Miner(HardExampleRules(band=0.2, …), monotonic_ns=clock.monotonic_ns, seed=7)
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_agent.agreement import counted_boxes
from edge_agent.hard_examples import (
    STRONGEST_FIRST,
    centre,
    effective_thresholds,
    has_low_score_under_ok,
    is_uncertain,
    is_weakly_expected,
)
from edge_agent.near_duplicates import NearDuplicates, make_thumbnail
from edge_agent.novelty import NoveltyWatch, describe
from edge_agent.ports import CycleOutcome, Image
from edge_agent.token_bucket import TokenBucket
from models.contract.messages import HardReason, Verdict
from models.contract.recipe import View
from models.detector.boxes import Boxes
from models.detector.detections import Detections

DEFAULT_THRESHOLD = 0.5
SECONDS_PER_HOUR = 3600.0
BURST_SHARE = 0.1
"""Share of an hour's quota that may go at once: a fault comes in a row of parts."""


@dataclass(frozen=True, slots=True)
class HardExampleRules:
    """Where the lines are drawn.

    Attributes:
        low_score: below this a box is noise.
        band: a score this near to its threshold is uncertain.
        audit_ratio: share of OKs that is looked at whatever the model thinks.
        reject_ratio: share of NOT_OKs that is looked at.
        novelty_sigmas: standard deviations beyond the usual distance that make a picture new.
        max_per_hour: quota of each reason.
    """

    low_score: float = 0.1
    band: float = 0.2
    audit_ratio: float = 0.02
    reject_ratio: float = 0.05
    novelty_sigmas: float = 3.0
    max_per_hour: int = 500


@dataclass(frozen=True, slots=True, eq=False)
class _Sight:
    """One cycle with its label map laid out by class id."""

    image: Image
    detections: Detections
    verdict: Verdict
    view: View
    categories: tuple[str, ...]
    thresholds: Mapping[str, float]
    limits: tuple[float, ...]
    is_defect: tuple[bool, ...]

    @classmethod
    def of(cls, cycle: CycleOutcome) -> "_Sight | None":
        if cycle.frame is None or cycle.detections is None:
            return None
        thresholds = effective_thresholds(cycle.view, cycle.thresholds)
        objects = {expected.category for expected in cycle.view.expected}
        return cls(
            image=cycle.frame.image,
            detections=cycle.detections,
            verdict=cycle.verdict,
            view=cycle.view,
            categories=cycle.categories,
            thresholds=thresholds,
            limits=tuple(thresholds.get(name, DEFAULT_THRESHOLD) for name in cycle.categories),
            is_defect=tuple(name not in objects for name in cycle.categories),
        )


class Miner:
    """Chooses the hard examples of one cell; the recorder's thread owns it.

    Args:
        rules: where the lines are drawn.
        monotonic_ns: the clock of the quotas.
        seed: of the random audit; None for a new one at each start.
    """

    def __init__(
        self,
        rules: HardExampleRules,
        *,
        monotonic_ns: Callable[[], int],
        seed: int | None = None,
    ) -> None:
        self._rules = rules
        self._rng = np.random.default_rng(seed)
        self._duplicates = NearDuplicates()
        self._novelty: dict[tuple[str, str, str], NoveltyWatch] = defaultdict(NoveltyWatch)
        rate_per_s = rules.max_per_hour / SECONDS_PER_HOUR
        burst = rules.max_per_hour * BURST_SHARE
        self._quotas = {
            reason: TokenBucket(rate_per_s, burst, monotonic_ns) for reason in HardReason
        }

    def choose(self, cycle: CycleOutcome) -> tuple[HardReason, ...]:
        """Reasons to keep this picture, strongest first; empty: keep only the record."""
        is_drawn = self._draw(cycle.verdict)
        sight = _Sight.of(cycle)
        if sight is None:
            return ()
        reasons = self._doubts(sight)
        if self._is_novel(cycle, sight, is_reference=not reasons):
            reasons.add(HardReason.NOVELTY)
        return self._within_quota(sight.image, reasons, is_drawn)

    def admit(self, reason: HardReason) -> bool:
        """Whether the quota of a reason that others found (a contradiction) lets one more by."""
        return self._quotas[reason].take()

    def _draw(self, verdict: Verdict) -> HardReason | None:
        # Drawn for every part before anything else is known of it: a share of the OKs that no
        # other rule has touched is what makes the escape rate unbiased.
        chance = float(self._rng.random())
        if verdict is Verdict.OK and chance < self._rules.audit_ratio:
            return HardReason.AUDIT
        if verdict is Verdict.NOT_OK and chance < self._rules.reject_ratio:
            return HardReason.REJECT
        return None

    def _doubts(self, sight: _Sight) -> set[HardReason]:
        rules = self._rules
        found = sight.detections
        reasons = set()
        if is_uncertain(found, sight.limits, band=rules.band, low_score=rules.low_score):
            reasons.add(HardReason.UNCERTAIN)
        if has_low_score_under_ok(
            sight.verdict,
            found,
            sight.limits,
            is_defect=sight.is_defect,
            low_score=rules.low_score,
        ):
            reasons.add(HardReason.LOW_SCORE_UNDER_OK)
        if self._misses_an_object(sight):
            reasons.add(HardReason.WEAK_EXPECTED)
        return reasons

    def _misses_an_object(self, sight: _Sight) -> bool:
        weak = [
            expected
            for expected in sight.view.expected
            if is_weakly_expected(
                expected,
                sight.detections,
                _index(sight.categories, expected.category),
                threshold=sight.thresholds.get(expected.category, DEFAULT_THRESHOLD),
                band=self._rules.band,
            )
        ]
        # An absence that a sure defect explains (a missing bolt, found as such) teaches nothing.
        return len(weak) > _num_sure_defects(sight, self._rules.band)

    def _is_novel(self, cycle: CycleOutcome, sight: _Sight, *, is_reference: bool) -> bool:
        found = counted_boxes(sight.detections, sight.categories, sight.thresholds)
        boxes = boxes_by_place(sight.view, found)
        vectors = describe(sight.image, boxes, sight.detections.embedding)
        # Features of another model are other features.
        bundle_id = cycle.model.bundle_id if cycle.model else ""
        watch = self._novelty[cycle.recipe.recipe_id, sight.view.name, bundle_id]
        is_novel = watch.surprise(vectors) > self._rules.novelty_sigmas
        if is_reference and not is_novel and sight.verdict is Verdict.OK:
            watch.add(vectors)
        return is_novel

    def _within_quota(
        self, image: Image, reasons: set[HardReason], is_drawn: HardReason | None
    ) -> tuple[HardReason, ...]:
        thumbnail = make_thumbnail(image) if reasons else None
        if thumbnail is not None and self._duplicates.has(thumbnail):
            reasons = set()
        if is_drawn is not None:
            reasons = {*reasons, is_drawn}
        kept = {reason for reason in reasons if self.admit(reason)}
        if thumbnail is not None and kept:
            self._duplicates.add(thumbnail)
        return tuple(reason for reason in STRONGEST_FIRST if reason in kept)


def boxes_by_place(view: View, found: Mapping[str, Boxes]) -> dict[str, Boxes]:
    """Boxes of the expected objects by the object's name in the recipe: each in its own place."""
    placed = {}
    for expected in view.expected:
        boxes = found.get(expected.category)
        if boxes is None:
            continue
        inside = [expected.zone is None or expected.zone.contains(*centre(box)) for box in boxes]
        if any(inside):
            placed[expected.name] = boxes[np.array(inside)]
    return placed


def _index(categories: Sequence[str], name: str) -> int | None:
    return categories.index(name) if name in categories else None


def _num_sure_defects(sight: _Sight, band: float) -> int:
    found = sight.detections
    limits = np.asarray(sight.limits)[found.class_ids]
    defects = np.asarray(sight.is_defect)[found.class_ids]
    return int(np.count_nonzero(defects & (found.scores > limits + band)))

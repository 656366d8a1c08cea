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
    doubt,
    effective_thresholds,
    has_low_score_under_ok,
    is_uncertain,
    is_weak,
    num_sure_defects,
    suspicion,
    weakness,
)
from edge_agent.near_duplicates import NearDuplicates, make_thumbnail
from edge_agent.novelty import NoveltyWatch, describe
from edge_agent.ports import CycleOutcome, Image
from edge_agent.rarity import Rarity
from edge_agent.token_bucket import TokenBucket
from models.contract.messages import HardReason, Verdict
from models.contract.recipe import View
from models.detector.boxes import Boxes
from models.detector.detections import Detections

DEFAULT_THRESHOLD = 0.5
SECONDS_PER_HOUR = 3600.0
DOUBT_SHARES = {
    HardReason.LOW_SCORE_UNDER_OK: 1.0,
    HardReason.NOVELTY: 1.0,
    HardReason.UNCERTAIN: 0.1,
    HardReason.WEAK_EXPECTED: 0.1,
}
"""Of ``max_ratio``, for each doubt while the credit is full; half of it when half is left."""
MAX_CREDIT = 10.0
"""Pictures that may be kept in a row: a fault comes in a row of parts. The less is left of it, the
stronger a doubt must be: else the first ones of a drift take the place of the best ones."""
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
        max_ratio: share of pictures that may be kept for a doubt, the strongest ones; audit and
            rejects come on top.
    """

    low_score: float = 0.1
    band: float = 0.2
    audit_ratio: float = 0.02
    reject_ratio: float = 0.05
    novelty_sigmas: float = 3.0
    max_per_hour: int = 500
    max_ratio: float = 0.1


_Place = tuple[str, str, str]
"""Recipe, view and model: what strengths can be compared in."""


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
        self._novelty: dict[_Place, NoveltyWatch] = defaultdict(NoveltyWatch)
        self._rarity: dict[tuple[_Place, HardReason], Rarity] = defaultdict(Rarity)
        self._credit = MAX_CREDIT
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
        self._credit = min(self._credit + self._rules.max_ratio, MAX_CREDIT)
        # Features and scores of another model are other features and scores.
        bundle_id = cycle.model.bundle_id if cycle.model else ""
        place = cycle.recipe.recipe_id, sight.view.name, bundle_id
        strengths = self._doubts(sight) | self._novel(place, sight)
        reasons = {
            reason
            for reason, (strength, is_doubtful) in strengths.items()
            # Taken in also when it is no doubt: else the strongest of few would count as rare.
            if self._is_rare(place, reason, strength) and is_doubtful
        }
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

    def _is_rare(self, place: _Place, reason: HardReason, strength: float) -> bool:
        share = DOUBT_SHARES[reason] * self._rules.max_ratio * self._credit / MAX_CREDIT
        return self._rarity[place, reason].take_in(strength, share=share)

    def _doubts(self, sight: _Sight) -> dict[HardReason, tuple[float, bool]]:
        """How strong each doubt is, and whether it is one at all."""
        rules, found, limits = self._rules, sight.detections, sight.limits
        is_ok = sight.verdict is Verdict.OK
        suspected = suspicion(found, limits, is_defect=sight.is_defect)
        return {
            HardReason.UNCERTAIN: (
                doubt(found, limits),
                is_uncertain(found, limits, band=rules.band, low_score=rules.low_score),
            ),
            HardReason.LOW_SCORE_UNDER_OK: (
                suspected if is_ok else 0.0,
                has_low_score_under_ok(
                    sight.verdict,
                    found,
                    limits,
                    is_defect=sight.is_defect,
                    low_score=rules.low_score,
                ),
            ),
            HardReason.WEAK_EXPECTED: self._misses_an_object(sight),
        }

    def _misses_an_object(self, sight: _Sight) -> tuple[float, bool]:
        weak, strongest = 0, -1.0
        found, band = sight.detections, self._rules.band
        for expected in sight.view.expected:
            class_id = _index(sight.categories, expected.category)
            threshold = sight.thresholds.get(expected.category, DEFAULT_THRESHOLD)
            strength = weakness(expected, found, class_id, threshold=threshold)
            weak += is_weak(strength, band=band)
            strongest = max(strongest, strength)
        # An absence that a sure defect explains (a missing bolt, found as such) teaches nothing.
        limits, is_defect = sight.limits, sight.is_defect
        is_unexplained = weak > num_sure_defects(found, limits, is_defect=is_defect, band=band)
        return (strongest if is_unexplained else -1.0), is_unexplained

    def _novel(self, place: _Place, sight: _Sight) -> dict[HardReason, tuple[float, bool]]:
        found = counted_boxes(sight.detections, sight.categories, sight.thresholds)
        boxes = boxes_by_place(sight.view, found)
        vectors = describe(sight.image, boxes, sight.detections.embedding)
        watch, is_ok = self._novelty[place], sight.verdict is Verdict.OK
        surprise = watch.surprise(vectors)
        is_novel = surprise > self._rules.novelty_sigmas
        if is_ok and not is_novel:
            watch.add(vectors)
        # A known defect looks new, too; what nobody has noticed is worth more.
        return {HardReason.NOVELTY: (surprise if is_ok else surprise / 2, is_novel)}

    def _within_quota(
        self, image: Image, reasons: set[HardReason], is_drawn: HardReason | None
    ) -> tuple[HardReason, ...]:
        # Without credit nothing is kept for a doubt: then a look at the picture is spared.
        thumbnail = make_thumbnail(image) if reasons and self._credit >= 1.0 else None
        if thumbnail is None or self._duplicates.has(thumbnail):
            reasons = set()
        if is_drawn is not None:
            reasons = {*reasons, is_drawn}
        kept = {reason for reason in reasons if self.admit(reason)}
        if thumbnail is not None and kept:
            self._duplicates.add(thumbnail)
        self._credit -= bool(kept & DOUBT_SHARES.keys())
        return tuple(reason for reason in STRONGEST_FIRST if reason in kept)


def boxes_by_place(view: View, found: Mapping[str, Boxes]) -> dict[str, Boxes]:
    """Boxes of the expected objects by the object's name in the recipe: each in its own place."""
    placed = {}
    centres = {name: ((boxes[:, :2] + boxes[:, 2:]) / 2).tolist() for name, boxes in found.items()}
    for expected in view.expected:
        boxes, zone = found.get(expected.category), expected.zone
        if boxes is None:
            continue
        inside = [zone is None or zone.contains(x, y) for x, y in centres[expected.category]]
        if any(inside):
            placed[expected.name] = boxes[np.array(inside)]
    return placed


def _index(categories: Sequence[str], name: str) -> int | None:
    return categories.index(name) if name in categories else None

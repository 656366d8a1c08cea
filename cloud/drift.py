"""Whether what a cell sees has changed: the population stability index. Pure.

The index of two distributions over the same bins is the sum of ``(c - r) ln(c / r)`` (Siddiqi
2006). Under 0.1 nothing has changed, from 0.25 on something has. Few samples differ by chance
alone: their index is about ``(bins - 1)(1 / n + 1 / m)`` and follows a chi-square law (Yurdakul
2018), so that it counts only beyond what chance explains.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

WATCH_PSI = 0.1
ALARM_PSI = 0.25
NUM_BINS = 10
MIN_SAMPLES = 100
NORMAL_99 = 2.326
"""One-sided 99 % of the normal law."""
HALF = 0.5
"""Added to each count: an empty bin has no logarithm (Agresti 2002, sec. 3.1)."""


class DriftLevel(StrEnum):
    """What the index says, from least to most to do."""

    UNKNOWN = "unknown"
    """Too few samples to say."""
    STABLE = "stable"
    WATCH = "watch"
    ALARM = "alarm"


_ORDER = list(DriftLevel)


@dataclass(frozen=True, slots=True)
class Bin:
    """One bar of a distribution, as a share of each side."""

    label: str
    reference: float
    current: float


@dataclass(frozen=True, slots=True)
class Shift:
    """How one property of the records moved."""

    name: str
    psi: float | None
    """None where there are too few samples."""
    by_chance: float
    """Index that chance alone stays under 99 times of 100."""
    num_reference: int
    num_current: int
    bins: tuple[Bin, ...] = ()

    @property
    def level(self) -> DriftLevel:
        """What to make of it."""
        if self.psi is None:
            return DriftLevel.UNKNOWN
        if self.psi <= self.by_chance or self.psi < WATCH_PSI:
            return DriftLevel.STABLE
        return DriftLevel.ALARM if self.psi >= ALARM_PSI else DriftLevel.WATCH


def worst(shifts: Iterable[Shift]) -> DriftLevel:
    """The level that asks for most."""
    levels = [shift.level for shift in shifts]
    return max(levels, key=_ORDER.index, default=DriftLevel.UNKNOWN)


def psi(reference: Sequence[int], current: Sequence[int]) -> float:
    """The index of two histograms over the same bins.

    Args:
        reference: Counts of what is taken for normal.
        current: Counts of what is seen now.
    """
    before = np.asarray(reference, float) + HALF
    after = np.asarray(current, float) + HALF
    before, after = before / before.sum(), after / after.sum()
    return float(((after - before) * np.log(after / before)).sum())


def chance_psi(num_bins: int, num_reference: int, num_current: int) -> float:
    """Index that two samples of one distribution exceed once in a hundred times."""
    freedom = num_bins - 1
    if freedom <= 0 or min(num_reference, num_current) <= 0:
        return 0.0
    # Wilson and Hilferty 1931: the quantile of chi-square from that of the normal law.
    share = 2 / (9 * freedom)
    quantile = freedom * (1 - share + NORMAL_99 * share**0.5) ** 3
    return float(quantile * (1 / num_reference + 1 / num_current))


def shift_of_numbers(
    name: str,
    reference: Sequence[float],
    current: Sequence[float],
    *,
    min_samples: int = MIN_SAMPLES,
) -> Shift:
    """Compare numbers in bins that each hold a tenth of the reference."""
    if min(len(reference), len(current)) < min_samples:
        return Shift(name, None, 0.0, len(reference), len(current))
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, NUM_BINS + 1))[1:-1])
    # A value on an edge belongs above it, so that a reference of one value has a bin of its own.
    before = np.bincount(np.digitize(reference, edges), minlength=len(edges) + 1)
    after = np.bincount(np.digitize(current, edges), minlength=len(edges) + 1)
    labels = [f"< {_short(edges[0])}", *(f"{_short(edge)} …" for edge in edges)]
    return _shift(name, labels, before.tolist(), after.tolist())


def shift_of_words(
    name: str,
    reference: Iterable[str],
    current: Iterable[str],
    *,
    min_samples: int = MIN_SAMPLES,
) -> Shift:
    """Compare how often each word comes."""
    before, after = Counter(reference), Counter(current)
    if min(before.total(), after.total()) < min_samples:
        return Shift(name, None, 0.0, before.total(), after.total())
    words = sorted(before | after, key=lambda word: (-before[word], word))
    return _shift(name, words, [before[word] for word in words], [after[word] for word in words])


def _shift(name: str, labels: Sequence[str], before: Sequence[int], after: Sequence[int]) -> Shift:
    num_before, num_after = sum(before), sum(after)
    return Shift(
        name=name,
        psi=round(psi(before, after), 4),
        by_chance=round(chance_psi(len(labels), num_before, num_after), 4),
        num_reference=num_before,
        num_current=num_after,
        bins=tuple(
            Bin(label, round(one / num_before, 4), round(other / num_after, 4))
            for label, one, other in zip(labels, before, after, strict=True)
        ),
    )


def _short(value: float) -> str:
    return f"{value:.3g}"

"""Figures that quality engineers decide by: yield, Pareto, escapes, false rejects; pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from models.contract.proportions import Z_95, wilson_interval


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with the number of cases behind it and its 95 % interval.

    ``value``, ``low`` and ``high`` are None where there are no cases: nothing is known then.
    """

    count: int
    n: int
    value: float | None
    low: float | None
    high: float | None


def wilson_rate(count: int, n: int, *, z: float = Z_95) -> Rate:
    """Share of ``count`` in ``n`` with Wilson's score interval.

    Wilson 1927; unlike the textbook interval it stays within 0 and 1, and says something useful
    at 0 cases in ``n``: the upper end of "no escape seen" is what a customer asks for.

    Raises:
        ValueError: not 0 <= count <= n.
    """
    if not 0 <= count <= n:
        raise ValueError(f"{count} of {n} is no share")
    if n == 0:
        return Rate(0, 0, None, None, None)
    low, high = wilson_interval(count, n, z)
    return Rate(count, n, count / n, low, high)


@dataclass(frozen=True, slots=True)
class Window:
    """Which results count: of one cell or all, from ``since`` on, before ``until``."""

    cell: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    recipe_id: str | None = None


@dataclass(frozen=True, slots=True)
class Latency:
    """Trigger-to-verdict times of the latest results."""

    n: int
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """The headline figures of a window."""

    results: int
    verdicts: dict[str, int]
    first_pass: Rate
    """Parts that were OK at their first inspection, of all parts first inspected in the window."""
    escapes: Rate
    """Audited OK parts that a reviewer found a defect on, of all audited OK parts."""
    false_rejects: Rate
    """Reviewed rejects without any defect, of all reviewed rejects."""
    reported_escapes: int
    """Parts passed as OK that somebody downstream found to be bad."""
    reported_false_rejects: int
    latency: Latency
    hard_images: dict[str, int]
    review: dict[str, int]


@dataclass(frozen=True, slots=True)
class RecordCount:
    """What arrived of the records that one boot of a cell sent.

    A cell numbers its records from 1, so ``num_records`` equals ``last_seq`` when none is missing.
    """

    cell: str
    boot_id: str
    num_records: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class ParetoBar:
    """One cause of rejects; bars come largest first."""

    code: str
    category: str | None
    count: int
    ratio: float
    cumulative_ratio: float


@dataclass(frozen=True, slots=True)
class YieldPoint:
    """First-pass yield of the parts first inspected in one stretch of time."""

    start: datetime
    first_pass: Rate


@dataclass(frozen=True, slots=True)
class VerdictPoint:
    """Joined verdicts of the parts inspected in one stretch of time."""

    start: datetime
    verdicts: dict[str, int]


def percentile(values: Sequence[float], ratio: float) -> float | None:
    """Nearest-rank percentile; None of nothing.

    Args:
        values: in any order.
        ratio: 0.5 for the median.
    """
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(ratio * len(ordered)) - 1))]


def pareto_bars(counts: Iterable[tuple[str, str | None, int]]) -> list[ParetoBar]:
    """Order causes by how often they occur, with their running share."""
    ordered = sorted(counts, key=lambda item: (-item[2], item[0], item[1] or ""))
    total, running, bars = sum(count for *_, count in ordered), 0, []
    for code, category, count in ordered:
        running += count
        bars.append(ParetoBar(code, category, count, count / total, running / total))
    return bars

"""The p-chart: whether the share of rejects moves more than chance explains. Pure.

Shewhart's chart for shares (ISO 7870-2): the centre line is the share over all groups, the limits
of a group of n parts lie three standard deviations from it, ``3 sqrt(p (1 - p) / n)``.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

RUN_LENGTH = 9
"""Nelson's second rule: as many groups in a row on one side of the centre are no chance."""
MIN_EXPECTED = 5.0
"""With fewer expected rejects in a group the limits of the normal law say nothing."""


class Signal(StrEnum):
    """Why a group of parts does not belong to the others."""

    ABOVE = "above"
    """More rejects than the upper limit: find the cause now."""
    BELOW = "below"
    """Fewer than the lower limit: better parts, or a station that sees less."""
    RUN = "run"
    """The ninth in a row on one side of the centre: the level has shifted."""


@dataclass(frozen=True, slots=True)
class Group:
    """The parts of one stretch of time."""

    start: datetime
    rejects: int
    n: int


@dataclass(frozen=True, slots=True)
class ChartPoint:
    """A group with its limits."""

    start: datetime
    rejects: int
    n: int
    ratio: float
    lower: float
    upper: float
    is_small: bool
    """Too few parts to be judged by the limits."""
    signal: Signal | None


@dataclass(frozen=True, slots=True)
class PChart:
    """The chart; ``centre`` is None where there are no parts."""

    centre: float | None
    n: int
    bucket_s: int
    points: tuple[ChartPoint, ...]

    @property
    def num_signals(self) -> int:
        """Groups that need a look."""
        return sum(point.signal is not None for point in self.points)


def p_chart(groups: Iterable[Group], *, bucket_s: int) -> PChart:
    """Draw the chart of groups in order of time; those without parts are left out."""
    known = [group for group in groups if group.n > 0]
    total = sum(group.n for group in known)
    if not total:
        return PChart(None, 0, bucket_s, ())
    centre = sum(group.rejects for group in known) / total
    points, run, side = [], 0, 0
    for group in known:
        if not _is_small(group, centre):
            own = _side(group, centre)
            run = run + 1 if own == side and own else abs(own)
            side = own
        points.append(_point(group, centre, run))
    return PChart(centre, total, bucket_s, tuple(points))


def _point(group: Group, centre: float, run: int) -> ChartPoint:
    ratio = group.rejects / group.n
    half = 3 * math.sqrt(centre * (1 - centre) / group.n)
    lower, upper = max(0.0, centre - half), min(1.0, centre + half)
    is_small = _is_small(group, centre)
    signal = None
    if not is_small:
        if ratio > upper:
            signal = Signal.ABOVE
        elif ratio < lower:
            signal = Signal.BELOW
        elif run >= RUN_LENGTH:
            signal = Signal.RUN
    return ChartPoint(group.start, group.rejects, group.n, ratio, lower, upper, is_small, signal)


def _is_small(group: Group, centre: float) -> bool:
    return group.n * min(centre, 1 - centre) < MIN_EXPECTED


def _side(group: Group, centre: float) -> int:
    """1 above the centre, -1 below it, 0 on it."""
    ratio = group.rejects / group.n
    return (ratio > centre) - (ratio < centre)

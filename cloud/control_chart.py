"""The p-chart: whether the share of rejects moves more than chance explains. Pure.

Shewhart's chart for shares (ISO 7870-2): the centre line is the share over all groups, the limits
of a group of n parts lie three standard deviations from it, ``3 sqrt(p (1 - p) / n)``.
"""

import math
from collections.abc import Iterable, Sequence
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
    runs = _runs([group.rejects / group.n - centre for group in known])
    points = tuple(_point(group, centre, run) for group, run in zip(known, runs, strict=True))
    return PChart(centre, total, bucket_s, points)


def _point(group: Group, centre: float, run: int) -> ChartPoint:
    ratio = group.rejects / group.n
    half = 3 * math.sqrt(centre * (1 - centre) / group.n)
    lower, upper = max(0.0, centre - half), min(1.0, centre + half)
    is_small = group.n * min(centre, 1 - centre) < MIN_EXPECTED
    signal = None
    if not is_small:
        if ratio > upper:
            signal = Signal.ABOVE
        elif ratio < lower:
            signal = Signal.BELOW
        elif run >= RUN_LENGTH:
            signal = Signal.RUN
    return ChartPoint(group.start, group.rejects, group.n, ratio, lower, upper, is_small, signal)


def _runs(offsets: Sequence[float]) -> list[int]:
    """For each group: how many in a row, with it, lie on its side of the centre."""
    lengths: list[int] = []
    side = 0.0
    for offset in offsets:
        own = (offset > 0) - (offset < 0)
        lengths.append(lengths[-1] + 1 if lengths and own == side and own else int(own != 0))
        side = own
    return lengths

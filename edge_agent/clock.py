"""The machine's own time."""

import time
from datetime import UTC, datetime
from typing import Protocol

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


class SystemClock:
    """The `edge_agent.ports.Clock` of a running agent."""

    def monotonic_ns(self) -> int:
        """For durations and deadlines: never steps."""
        return time.monotonic_ns()

    def now(self) -> datetime:
        """For records: aware, UTC."""
        return datetime.now(UTC)


class TwoClocks(Protocol):
    """One that never steps and one that may."""

    def monotonic_ns(self) -> int:
        """Never steps."""
        ...

    def now(self) -> datetime:
        """May be set by somebody."""
        ...


class ClockWatch:
    """Notices that the machine's clock was set: times of records before and after do not compare.

    Args:
        clock: both clocks.
        tolerance_s: less than this is the slow correction that every clock gets.
    """

    def __init__(self, clock: TwoClocks, *, tolerance_s: float = 2.0) -> None:
        self._clock = clock
        self._tolerance_s = tolerance_s
        self._offset_s = self._measure_s()

    def step_s(self) -> float:
        """Seconds by which the clock was set since the last call; 0 for none."""
        offset_s = self._measure_s()
        step_s, self._offset_s = offset_s - self._offset_s, offset_s
        return step_s if abs(step_s) >= self._tolerance_s else 0.0

    def _measure_s(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic_ns() / NS_PER_S

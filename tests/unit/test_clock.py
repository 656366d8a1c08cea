"""Somebody sets the machine's clock while the line runs."""

from datetime import UTC, datetime, timedelta

from edge_agent.clock import NS_PER_S, ClockWatch


class SetClock:
    """Two clocks that are moved by hand."""

    def __init__(self) -> None:
        self.ns = 5 * NS_PER_S
        self.wall = datetime(2026, 3, 29, 0, 59, tzinfo=UTC)

    def monotonic_ns(self) -> int:
        return self.ns

    def now(self) -> datetime:
        return self.wall

    def pass_time(self, seconds: float, *, set_by_s: float = 0.0) -> None:
        self.ns += int(seconds * NS_PER_S)
        self.wall += timedelta(seconds=seconds + set_by_s)


def test_step_is_told_once_with_its_sign_and_drift_is_not() -> None:
    clock = SetClock()
    watch = ClockWatch(clock)
    told = []
    for set_by_s in (0.0, 3600.0, 0.0, -3600.0, 0.4):
        clock.pass_time(1.0, set_by_s=set_by_s)
        told.append(round(watch.step_s()))
    assert told == [0, 3600, 0, -3600, 0]

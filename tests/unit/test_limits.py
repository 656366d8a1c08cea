"""How often somebody may ask."""

import pytest

from cloud.errors import BusyError
from cloud.limits import AttemptLimit, RequestLimit


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_allowed_then_a_steady_rate() -> None:
    clock = Clock()
    limit = RequestLimit(per_s=2.0, burst=3, monotonic=clock)
    assert [limit.wait_s("ann") for _ in range(4)] == [0, 0, 0, 0.5]
    clock.now = 0.5
    assert limit.wait_s("ann") == 0
    assert limit.wait_s("ann") == pytest.approx(0.5)


def test_one_caller_does_not_use_up_anothers_share() -> None:
    limit = RequestLimit(per_s=1.0, burst=1, monotonic=Clock())
    assert [limit.wait_s("ann"), limit.wait_s("ann") > 0, limit.wait_s("bob")] == [0, True, 0]


def test_attempts_are_forgotten_after_a_minute() -> None:
    clock = Clock()
    limit = AttemptLimit(2, monotonic=clock)
    limit.check("ann")
    limit.check("ann")
    with pytest.raises(BusyError):
        limit.check("ann")
    clock.now = 60.0
    limit.check("ann")

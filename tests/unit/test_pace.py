"""Foretelling the next part from the line's own pace."""

import pytest

from edge_agent.pace import Pace


def after(*times_s: float) -> Pace:
    pace = Pace()
    for at_s in times_s:
        pace.add(at_s)
    return pace


EVEN = (10.0, 10.1, 10.201, 10.3, 10.401)


@pytest.mark.parametrize(
    ("now_s", "needed_s", "waits"),
    [
        (10.42, 0.01, False),  # right after a part there is time
        (10.42, 0.09, True),  # but not for what takes until the next one
        (10.495, 0.01, True),
        (10.503, 0.01, True),  # a little late is no reason to begin
        (10.52, 0.01, False),  # it has not come
    ],
)
def test_work_waits_when_it_would_not_end_before_the_next_part(
    now_s: float, needed_s: float, waits: bool
) -> None:
    assert (after(*EVEN).wait_s(now_s, needed_s) > 0) is waits


def test_the_wait_ends_when_the_part_that_was_due_has_not_come() -> None:
    pace = after(*EVEN)
    assert pace.wait_s(10.5 + pace.wait_s(10.5, 0.01), 0.01) == 0


@pytest.mark.parametrize(
    "times_s",
    [
        (),
        (10.0, 10.1, 10.2, 10.3),  # too few
        (10.0, 10.1, 10.3, 10.4, 10.6),  # uneven
        (0.0, 60.0, 120.0, 180.0, 240.0),  # nobody can say when the next one comes
    ],
)
def test_nothing_is_foretold_of_a_line_without_a_pace(times_s: tuple[float, ...]) -> None:
    last_s = times_s[-1] if times_s else 0.0
    pace = after(*times_s)
    assert all(pace.wait_s(last_s + ahead_s, 5.0) == 0 for ahead_s in (0.05, 0.1, 0.15, 30, 60))


def test_a_line_that_found_its_pace_again_is_believed_again() -> None:
    pace = after(0.0, 5.0, 10.0, 10.1, 10.2, 10.3, 10.4)
    assert pace.wait_s(10.49, 0.02) > 0

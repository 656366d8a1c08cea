"""The p-chart against figures worked out by hand."""

from datetime import UTC, datetime, timedelta

import pytest

from cloud.control_chart import Group, Signal, p_chart

START = datetime(2026, 1, 1, tzinfo=UTC)


def _groups(*rejects: int, n: int = 400) -> list[Group]:
    return [Group(START + timedelta(hours=i), bad, n) for i, bad in enumerate(rejects)]


def test_limits_lie_three_standard_deviations_from_the_share_of_all_parts() -> None:
    chart = p_chart(_groups(20, 28, 24), bucket_s=3600)
    assert chart.centre == pytest.approx(0.06)
    # 3 * sqrt(0.06 * 0.94 / 400) = 0.03562
    assert chart.points[0].upper == pytest.approx(0.09562, abs=1e-5)
    assert chart.points[0].lower == pytest.approx(0.02438, abs=1e-5)
    assert chart.num_signals == 0


def test_a_group_beyond_a_limit_is_told_by_its_side() -> None:
    chart = p_chart(_groups(24, 24, 24, 24, 60, 24, 4, 24), bucket_s=3600)
    signals = [point.signal for point in chart.points]
    assert (signals[4], signals[6]) == (Signal.ABOVE, Signal.BELOW)
    assert chart.num_signals == 2


def test_the_ninth_group_in_a_row_on_one_side_is_a_shift_of_level() -> None:
    chart = p_chart(_groups(*[22] * 9, *[28] * 9), bucket_s=3600)
    signals = [point.signal for point in chart.points]
    assert [i for i, signal in enumerate(signals) if signal is Signal.RUN] == [8, 17]


def test_a_small_group_is_shown_and_not_judged() -> None:
    chart = p_chart([*_groups(24, 24), Group(START, 3, 6)], bucket_s=3600)
    assert (chart.points[2].is_small, chart.points[2].signal) == (True, None)


def test_small_groups_neither_make_nor_break_a_run() -> None:
    small = Group(START, 0, 6)
    groups = [*_groups(*[22] * 4), *[small] * 9, *_groups(*[22] * 5), *_groups(*[28] * 9)]
    signals = [point.signal for point in p_chart(groups, bucket_s=3600).points]
    assert [i for i, signal in enumerate(signals) if signal] == [17, 26]


def test_stretches_without_parts_are_left_out() -> None:
    assert p_chart([Group(START, 0, 0)], bucket_s=60).points == ()
    assert p_chart([], bucket_s=60).centre is None


def test_limits_stay_between_nothing_and_all() -> None:
    [point] = p_chart([Group(START, 1, 30)], bucket_s=60).points
    assert (point.lower, point.upper <= 1) == (0.0, True)

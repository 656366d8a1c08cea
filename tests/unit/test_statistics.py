import pytest

from cloud.statistics import pareto_bars, percentile, wilson_rate


def test_wilson_interval_agrees_with_the_published_example() -> None:
    # Newcombe 1998, table I: 15 of 148.
    rate = wilson_rate(15, 148)
    assert rate.low == pytest.approx(0.0624, abs=5e-5)
    assert rate.high == pytest.approx(0.1605, abs=5e-5)


def test_no_escape_in_a_hundred_still_has_an_upper_end() -> None:
    rate = wilson_rate(0, 100)
    assert (rate.value, rate.low) == (0.0, 0.0)
    assert rate.high == pytest.approx(0.037, abs=5e-4)


def test_nothing_is_known_from_no_cases() -> None:
    assert wilson_rate(0, 0).value is None


@pytest.mark.parametrize(("count", "n"), [(2, 1), (-1, 5)])
def test_an_impossible_share_is_a_mistake(count: int, n: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson_rate(count, n)


def test_pareto_comes_largest_first_and_adds_up_to_one() -> None:
    bars = pareto_bars([("defect", "scratch", 1), ("missing_object", "bolt", 3)])
    assert [(bar.category, bar.ratio, bar.cumulative_ratio) for bar in bars] == [
        ("bolt", 0.75, 0.75),
        ("scratch", 0.25, 1.0),
    ]
    assert pareto_bars([]) == []


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(value) for value in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99)) == (50.0, 99.0)
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([], 0.5) is None

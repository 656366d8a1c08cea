"""Options of sightline-train as people write them."""

from pathlib import Path

import pytest

from models.training import cli_options as options
from models.training.cli_fit import fit_budget_s
from models.training.errors import InputError
from models.training.preparation import FitRequest, chosen_settings, why_rate


def test_levels_are_rising_strides() -> None:
    assert options.strides("8,16, 32") == (8, 16, 32)
    assert options.strides(None) is None


@pytest.mark.parametrize("text", ["8,12", "16,8", "8,8", "8;16", "eight", "4,8", "8,"])
def test_levels_that_no_network_has_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="write rising strides"):
        options.strides(text)


@pytest.mark.parametrize("text", ["0", "0m", "0h0m"])
def test_a_budget_without_time_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="leaves no time"):
        options.seconds(text)


def test_a_size_is_width_times_height() -> None:
    assert options.size("320x256") == (320, 256)
    with pytest.raises(InputError, match="width x height"):
        options.size("320")


@pytest.mark.parametrize(
    ("init", "overrides", "expected"),
    [
        ("imagenet", {}, "learning rate 0.002, 0.0004 for the backbone: it is pretrained"),
        ("none", {}, "learning rate 0.001: nothing is pretrained"),
        (".", {}, "learning rate 0.001, 0.0003 for the backbone: what the bundle knows"),
        ("imagenet", {"learning_rate": "0.01"}, "learning rate 0.01, 0.002 for the backbone: as"),
    ],
)
def test_the_rates_are_told_with_their_reason(
    init: str, overrides: dict[str, str], expected: str
) -> None:
    request = FitRequest("snapshot", init, Path("run"), "part", 1, 60.0, overrides)
    assert why_rate(request, chosen_settings(request, {})).startswith(expected)


@pytest.mark.parametrize(("total_s", "fit_s"), [(60, 40), (300, 240), (1800, 1650), (5400, 5130)])
def test_a_run_keeps_time_for_what_comes_after_the_fit(total_s: float, fit_s: float) -> None:
    assert fit_budget_s(total_s) == fit_s

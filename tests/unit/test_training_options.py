"""Options of sightline-train as people write them."""

import pytest

from models.training import cli_options as options
from models.training.errors import InputError


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

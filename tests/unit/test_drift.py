import numpy as np
import pytest

from cloud.drift import DriftLevel, chance_psi, psi, shift_of_numbers, shift_of_words, worst


def test_equal_distributions_have_no_index() -> None:
    assert psi([10, 20, 70], [100, 200, 700]) == pytest.approx(0.0, abs=1e-3)


def test_the_index_is_that_of_the_textbook() -> None:
    # 50/50 against 80/20: 0.3 ln 1.6 + (-0.3) ln 0.4
    wanted = 0.3 * np.log(1.6) - 0.3 * np.log(0.4)
    assert psi([50_000, 50_000], [80_000, 20_000]) == pytest.approx(wanted, abs=1e-3)


def test_an_empty_bin_does_not_make_the_index_infinite() -> None:
    assert np.isfinite(psi([100, 0], [0, 100]))


@pytest.mark.parametrize("seed", range(5))
def test_two_samples_of_one_law_do_not_alarm(seed: int) -> None:
    random = np.random.default_rng(seed)
    shift = shift_of_numbers(
        "score", random.beta(9, 2, 1000).tolist(), random.beta(9, 2, 120).tolist()
    )
    assert shift.level is DriftLevel.STABLE


@pytest.mark.parametrize(
    ("factor", "level"),
    [
        pytest.param(1.0, DriftLevel.STABLE, id="the same lamp"),
        pytest.param(0.995, DriftLevel.STABLE, id="a breath less light"),
        pytest.param(0.90, DriftLevel.ALARM, id="an ageing lamp"),
    ],
)
def test_a_lamp_that_ages_alarms(factor: float, level: DriftLevel) -> None:
    random = np.random.default_rng(3)
    before, after = random.normal(120, 6, 1000), factor * random.normal(120, 6, 400)
    assert shift_of_numbers("brightness", before.tolist(), after.tolist()).level is level


def test_a_new_defect_shows_in_the_classes() -> None:
    before = ["bolt"] * 900 + ["scratch"] * 100
    shift = shift_of_words("class", before, ["bolt"] * 150 + ["torn_label"] * 60)
    assert shift.level is DriftLevel.ALARM
    assert [(bin_.label, bin_.reference) for bin_ in shift.bins] == [
        ("bolt", 0.9),
        ("scratch", 0.1),
        ("torn_label", 0.0),
    ]


def test_few_samples_say_nothing() -> None:
    shift = shift_of_words("class", ["bolt"] * 1000, ["scratch"] * 99)
    assert (shift.level, shift.psi) == (DriftLevel.UNKNOWN, None)


def test_a_constant_reference_has_a_bin_of_its_own() -> None:
    shift = shift_of_numbers("score", [1.0] * 500, [0.5] * 500)
    assert shift.level is DriftLevel.ALARM


def test_chance_is_the_quantile_of_chi_square() -> None:
    # 99 % quantile of chi-square with 9 degrees of freedom: 21.666
    assert chance_psi(10, 1000, 1000) == pytest.approx(21.666 * 0.002, rel=0.01)


def test_the_worst_shift_speaks_for_the_cell() -> None:
    calm = shift_of_words("class", ["a"] * 200, ["a"] * 200)
    unknown = shift_of_words("class", ["a"], ["a"])
    assert worst([unknown, calm]) is DriftLevel.STABLE
    assert worst([]) is DriftLevel.UNKNOWN

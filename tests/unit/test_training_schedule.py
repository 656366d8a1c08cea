import numpy as np
import pytest

from models.training.durations import parse_duration
from models.training.schedule import (
    MIN_STEPS,
    Milestones,
    Sampler,
    StepClock,
    learning_rate,
    picture_weights,
    plan_steps,
    settling_from,
    warm_up_steps,
)


def test_rate_rises_then_falls_to_nearly_nothing() -> None:
    rates = [learning_rate(step, 200, 1.0) for step in range(200)]
    top = warm_up_steps(200)
    assert rates[:top] == sorted(rates[:top])
    assert max(rates) == pytest.approx(1.0)
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < 0.02


def test_shortened_fit_ends_as_low_as_a_planned_one() -> None:
    assert learning_rate(99, 100, 1.0) == pytest.approx(learning_rate(199, 200, 1.0), abs=0.01)


@pytest.mark.parametrize(
    ("done", "step_s", "left_s", "steps"),
    [
        pytest.param(15, 0.5, 60.0, 135, id="two steps a second"),
        pytest.param(15, 2.0, -5.0, MIN_STEPS, id="time is over already"),
        pytest.param(15, 0.0, 60.0, MIN_STEPS, id="no step was measured"),
    ],
)
def test_budget_becomes_steps(done: int, step_s: float, left_s: float, steps: int) -> None:
    assert plan_steps(done, step_s, left_s) == steps


@pytest.mark.parametrize(
    ("steps", "rounds", "expected"),
    [(400, 4, [100, 200, 300, 400]), (30, 4, [30]), (5, 4, [5])],
)
def test_model_is_judged_after_the_last_step_whatever_happens(
    steps: int, rounds: int, expected: list[int]
) -> None:
    milestones = Milestones(rounds)
    assert [done for done in range(1, steps + 1) if milestones.is_due(done, steps)] == expected


def test_a_plan_that_shrinks_brings_the_judgement_forward_but_no_second_one() -> None:
    milestones = Milestones(4)
    assert [done for done in range(1, 151) if milestones.is_due(done, 400)] == [100]
    assert milestones.left(150, 240) == 2
    assert [done for done in range(151, 241) if milestones.is_due(done, 240)] == [151, 180, 240]


def test_a_resumed_fit_does_not_judge_again_what_it_has_judged() -> None:
    milestones = Milestones(4)
    milestones.start_at(130, 400)
    assert [done for done in range(131, 401) if milestones.is_due(done, 400)] == [200, 300, 400]


def test_step_clock_forgets_what_is_long_past() -> None:
    clock = StepClock(remembered=2)
    for seconds in (9.0, 1.0, 3.0):
        clock.add(seconds)
    assert clock.step_s == 2.0


def test_pictures_of_a_new_category_get_their_share() -> None:
    labels = [frozenset({"bolt"})] * 90 + [frozenset({"bolt", "torn_label"})] * 10
    weights = picture_weights(labels, new_categories=frozenset({"torn_label"}), new_share=0.4)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[90:].sum() == pytest.approx(0.4)


def test_rare_category_is_shown_more_often_than_its_number() -> None:
    labels = [frozenset({"bolt"})] * 98 + [frozenset({"scratch"})] * 2
    weights = picture_weights(labels)
    assert weights[-1] == pytest.approx(weights[0] * np.sqrt(0.2 / 0.02))


def test_sampler_gives_the_same_step_to_whoever_asks() -> None:
    weights = np.full(10, 0.1)
    one, other = Sampler(weights, 4, seed=3), Sampler(weights, 4, seed=3)
    steps = [one.batch(step).tolist() for step in range(20)]
    assert other.batch(17).tolist() == steps[17]
    assert other.batch(2).tolist() == steps[2]


def test_sampler_shows_each_picture_once_an_epoch_when_none_is_special() -> None:
    sampler = Sampler(np.full(12, 1 / 12), 4, seed=0)
    seen = np.concatenate([sampler.batch(step) for step in range(3)])
    assert sorted(seen) == list(range(12))


def test_sampler_keeps_to_the_weights() -> None:
    sampler = Sampler(np.array([0.5, 0.25, 0.25]), 3, seed=0)
    seen = np.concatenate([sampler.batch(step) for step in range(400)])
    assert np.bincount(seen) / len(seen) == pytest.approx([0.5, 0.25, 0.25], abs=0.03)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("45m", 2700), ("1h30m", 5400), ("12", 12), ("0.5m", 30)]
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5x", "-3m", "m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(("steps", "share", "first"), [(1000, 0.1, 900), (15, 0.0, 15), (9, 1, 0)])
def test_the_last_part_of_a_fit_begins_at_its_share(steps: int, share: float, first: int) -> None:
    assert settling_from(steps, share) == first

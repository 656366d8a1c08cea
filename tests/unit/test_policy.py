"""When retraining starts by itself."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloud.policy import LearningState, RetrainingPolicy, RetrainingTrigger, decide

NOW = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
POLICY = RetrainingPolicy(min_new_labels=40, min_per_new_category=8)


READY = LearningState(has_base=True, is_running=False, num_new_labels=40)


def state(**changes: Any) -> LearningState:  # noqa: ANN401 - any of its fields
    return replace(READY, **changes)


@pytest.mark.parametrize(
    ("known", "trigger", "start"),
    [
        pytest.param(state(), "labels", True, id="exactly enough labels"),
        pytest.param(state(num_new_labels=39), "labels", False, id="one label short"),
        pytest.param(state(has_base=False), "button", False, id="nothing to start from"),
        pytest.param(state(is_running=True), "button", False, id="one at a time, even by hand"),
        pytest.param(state(num_new_labels=0), "button", True, id="a person may insist"),
        pytest.param(state(num_new_labels=1), "schedule", True, id="schedule with one new label"),
        pytest.param(state(num_new_labels=0), "schedule", False, id="schedule without news"),
        pytest.param(
            state(boxes_per_new_category={"torn_label": 7}), "labels", False, id="new class thin"
        ),
        pytest.param(
            state(boxes_per_new_category={"torn_label": 8}), "labels", True, id="new class enough"
        ),
        pytest.param(
            state(num_new_labels=80, boxes_per_new_category={"typo": 1}),
            "labels",
            True,
            id="a class labelled once does not hold back the rest for ever",
        ),
    ],
)
def test_a_run_starts_when_it_is_worth_it(known: LearningState, trigger: str, start: bool) -> None:
    decision = decide(known, POLICY, trigger=RetrainingTrigger(trigger), now=NOW)
    assert decision.start is start
    assert decision.reason


def test_after_a_setback_the_labels_rest_but_the_button_does_not() -> None:
    resting = state(last_setback_at=NOW - timedelta(minutes=10))
    assert not decide(resting, POLICY, trigger=RetrainingTrigger.LABELS, now=NOW).start
    assert not decide(resting, POLICY, trigger=RetrainingTrigger.SCHEDULE, now=NOW).start
    assert decide(resting, POLICY, trigger=RetrainingTrigger.BUTTON, now=NOW).start
    later = NOW + timedelta(minutes=20)
    assert decide(resting, POLICY, trigger=RetrainingTrigger.LABELS, now=later).start


def test_zero_turns_the_count_off() -> None:
    policy = RetrainingPolicy(min_new_labels=0)
    assert not decide(state(), policy, trigger=RetrainingTrigger.LABELS, now=NOW).start


@pytest.mark.parametrize(
    ("drift", "num_new_labels", "start", "reason"),
    [
        pytest.param("", 99, False, "no cell has drifted", id="no drift"),
        pytest.param("line1", 19, False, "19 new labels of the 20 wanted", id="too few labels"),
        pytest.param("line1", 20, True, "line1 has drifted, 20 new labels", id="enough"),
    ],
)
def test_a_drift_alarm_starts_a_run_with_fewer_labels_but_not_with_none(
    drift: str, num_new_labels: int, start: bool, reason: str
) -> None:
    state = LearningState(
        has_base=True, is_running=False, num_new_labels=num_new_labels, drift=drift
    )
    decision = decide(
        state, RetrainingPolicy(), trigger=RetrainingTrigger.DRIFT, now=datetime.now(UTC)
    )
    assert decision.start is start
    assert reason in decision.reason

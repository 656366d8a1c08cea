"""When to retrain: a pure decision over what is known now."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

PATIENCE = 2
NO_BASE = "no snapshot is registered to start from"


class RetrainingTrigger(StrEnum):
    """What starts a run."""

    LABELS = "labels"
    SCHEDULE = "schedule"
    DRIFT = "drift"
    BUTTON = "button"


@dataclass(frozen=True, slots=True)
class RetrainingPolicy:
    """When a run is worth its cost."""

    min_new_labels: int = 50
    """New labelled pictures since the newest snapshot that start a run by themselves; 0: never."""
    min_per_new_category: int = 10
    """Boxes wanted of each category that the running model does not know. A category with fewer
    holds the run back, though no longer than until `PATIENCE` times ``min_new_labels``."""
    min_drift_labels: int = 20
    """New labels that start a run where a cell has drifted: fewer than otherwise, but not none, as
    only labels of what has changed teach it."""
    cool_down: timedelta = timedelta(minutes=30)
    """Rest after a run that was refused or failed, so that the same labels do not fail again."""


@dataclass(frozen=True, slots=True)
class LearningState:
    """What the decision depends on."""

    has_base: bool
    """Whether there is a snapshot to start from."""
    is_running: bool
    num_new_labels: int = 0
    boxes_per_new_category: Mapping[str, int] = field(default_factory=dict)
    drift: str = ""
    """Which cells have drifted and in what; empty: none."""
    last_setback_at: datetime | None = None
    """When the last run ended refused or failed, if it was the last."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Start or not, and why; the text is shown to people."""

    start: bool
    reason: str


def decide(
    state: LearningState,
    policy: RetrainingPolicy,
    *,
    trigger: RetrainingTrigger,
    now: datetime,
) -> Decision:
    """Decide whether a run starts now.

    The button overrules the counts and the cool-down, never "one at a time". The schedule overrules
    the count but wants at least one new label: the same pictures give the same model.
    """
    if state.is_running or not state.has_base:
        text = "a run is already in progress" if state.is_running else NO_BASE
        return Decision(False, text)
    if trigger is RetrainingTrigger.BUTTON:
        return Decision(True, "asked for by a person")
    resting = _resting(state, policy, now)
    if resting:
        return Decision(False, resting)
    if trigger is RetrainingTrigger.SCHEDULE:
        return Decision(state.num_new_labels > 0, f"{state.num_new_labels} new labels on schedule")
    if trigger is RetrainingTrigger.DRIFT:
        return _drifted(state, policy)
    return _enough_labels(state, policy)


def _resting(state: LearningState, policy: RetrainingPolicy, now: datetime) -> str:
    if state.last_setback_at is None:
        return ""
    left = state.last_setback_at + policy.cool_down - now
    if left <= timedelta(0):
        return ""
    return f"resting {left.total_seconds() / 60:.0f} min after a run that led to no release"


def _drifted(state: LearningState, policy: RetrainingPolicy) -> Decision:
    if not state.drift:
        return Decision(False, "no cell has drifted")
    labels = f"{state.num_new_labels} new labels"
    if state.num_new_labels < policy.min_drift_labels:
        return Decision(
            False, f"{state.drift} has drifted: {labels} of the {policy.min_drift_labels} wanted"
        )
    return Decision(True, f"{state.drift} has drifted, {labels}")


def _enough_labels(state: LearningState, policy: RetrainingPolicy) -> Decision:
    if policy.min_new_labels == 0:
        return Decision(False, "new labels start no run (min_new_labels = 0)")
    if state.num_new_labels < policy.min_new_labels:
        return Decision(False, f"{state.num_new_labels} of {policy.min_new_labels} new labels")
    thin = [
        f"{name} {count} of {policy.min_per_new_category}"
        for name, count in sorted(state.boxes_per_new_category.items())
        if count < policy.min_per_new_category
    ]
    # A category labelled once, perhaps by mistake, must not keep the rest waiting for ever.
    if thin and state.num_new_labels < PATIENCE * policy.min_new_labels:
        return Decision(False, f"too few boxes of a new category: {', '.join(thin)}")
    return Decision(True, f"{state.num_new_labels} new labels")

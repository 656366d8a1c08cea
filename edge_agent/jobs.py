"""One part on its way through the station, and what the station answers about it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from edge_agent.clock import NS_PER_MS
from models.contract.bundle import ModelRef
from models.contract.messages import (
    Acquired,
    PlcResult,
    Reason,
    ReasonCode,
    ResultState,
    Trigger,
    TriggerAck,
    Verdict,
)
from models.contract.recipe import Recipe, View

ANSWER_MARGIN_NS = 10 * NS_PER_MS
"""The answer leaves this long before the deadline: a publish takes 1 ms, a loaded network more."""

Request = tuple[str, str, str]
"""Part, view and recipe that a trigger asks for."""
UNKNOWN = Reason(
    code=ReasonCode.DEADLINE, text="the agent ended before this verdict was kept: it is unknown"
)

GRAVEST_FIRST = (Verdict.NOT_OK, Verdict.NOT_DECIDABLE)
WORST_FIRST = (ResultState.FAILED, ResultState.ABORTED)


class ViewDecision(NamedTuple):
    """What was decided about one view."""

    verdict: Verdict
    reasons: tuple[Reason, ...] = ()
    result_state: ResultState = ResultState.COMPLETED


@dataclass(slots=True)
class Job:
    """One part on its way through the views of its recipe."""

    job_id: UUID
    part_id: str
    recipe: Recipe
    started_ns: int
    decisions: dict[str, ViewDecision] = field(default_factory=dict)

    @property
    def missing_views(self) -> tuple[str, ...]:
        """Views that are still to come, in the recipe's order."""
        return tuple(v.name for v in self.recipe.views if v.name not in self.decisions)


@dataclass(frozen=True, slots=True)
class Execution:
    """A trigger that was accepted and waits for its verdict."""

    trigger: Trigger
    acquisition_id: int
    result_id: UUID
    job: Job
    view: View
    arrived_ns: int
    deadline_ns: int

    @property
    def answer_by_ns(self) -> int:
        """When it is answered at the latest, whatever is known by then."""
        return self.deadline_ns - min(ANSWER_MARGIN_NS, (self.deadline_ns - self.arrived_ns) // 5)


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer to a trigger: what to send, and what to start."""

    ack: TriggerAck
    execution: Execution | None = None
    """Set for a new, accepted trigger."""
    acquired: Acquired | None = None
    result: PlcResult | None = None
    """Set where the trigger is a repeat and was answered before."""
    aborted: Job | None = None
    """A part that was given up unfinished because another one came."""
    is_repeat: bool = False


@dataclass(frozen=True, slots=True)
class Due:
    """What time alone demands."""

    resend: PlcResult | None = None
    given_up: PlcResult | None = None
    """A result that the PLC never acknowledged."""
    aborted: Job | None = None
    """A part whose missing views did not come."""


def request_of(trigger: Trigger) -> Request:
    """What makes two triggers the same question."""
    return trigger.part_id, trigger.view, trigger.recipe_id


def unknown_result(execution: Execution, model: ModelRef | None) -> PlcResult:
    """The result of an execution of which nothing more is heard."""
    job = execution.job
    return PlcResult(
        trigger_id=execution.trigger.trigger_id,
        result_id=execution.result_id,
        job_id=job.job_id,
        part_id=job.part_id,
        view=execution.view.name,
        verdict=Verdict.NOT_DECIDABLE,
        is_partial=any(name != execution.view.name for name in job.missing_views),
        result_state=ResultState.ABORTED,
        reasons=(UNKNOWN,),
        recipe_id=job.recipe.recipe_id,
        recipe_version=job.recipe.version,
        model=model,
        processing_ms=0.0,
    )


def join_views(decisions: Sequence[ViewDecision]) -> ViewDecision:
    """The verdict on a part from those on its views.

    A defect seen in one view rejects the part; a view that could not be judged keeps the part
    from being passed.
    """
    verdicts = {decision.verdict for decision in decisions}
    states = {decision.result_state for decision in decisions}
    return ViewDecision(
        next((verdict for verdict in GRAVEST_FIRST if verdict in verdicts), Verdict.OK),
        tuple(reason for decision in decisions for reason in decision.reasons),
        next((state for state in WORST_FIRST if state in states), ResultState.COMPLETED),
    )

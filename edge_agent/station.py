"""The station's rules: its OPC 40100 state and the handshake with the PLC. No I/O, no threads.

One thread owns a `Station`. It feeds in what happened and sends out what the answers say; time
comes in as nanoseconds of the monotonic clock.

The handshake, for one view of one part::

    PLC  trigger ───────▶                                     result_ack ─▶
    cell          ack ─▶ ... acquired ─▶ ... result ─▶ (result ─▶)
         Ready    │────────── SingleExecution ───────────────────────────│ Ready
"""

from collections import OrderedDict
from dataclasses import dataclass
from uuid import uuid4

from edge_agent.clock import NS_PER_MS, NS_PER_S
from edge_agent.jobs import (
    Admission,
    Due,
    Execution,
    Job,
    Request,
    ViewDecision,
    join_views,
    request_of,
)
from models.contract.bundle import ModelRef
from models.contract.messages import (
    Acquired,
    Alarm,
    PlcResult,
    Rejection,
    StationState,
    Trigger,
    TriggerAck,
    Verdict,
)
from models.contract.recipe import Recipe

MAX_REASONS = 100
MAX_ALARMS = 20


@dataclass(slots=True)
class _Answer:
    """What one trigger was told; sent again when the trigger is repeated."""

    request: Request
    ack: TriggerAck
    at_ns: int
    acquired: Acquired | None = None
    result: PlcResult | bytes | None = None
    """Packed once the PLC needs it no more: a thousand results of fifty objects each, made among
    what lives for one part, would keep the memory of both."""

    def pack(self) -> None:
        """Keep the result as bytes."""
        if isinstance(self.result, PlcResult):
            self.result = self.result.to_bytes()

    def unpacked(self) -> PlcResult | None:
        """The result as it was."""
        return PlcResult.from_bytes(self.result) if isinstance(self.result, bytes) else self.result


@dataclass(slots=True)
class _Pending:
    """A result that the PLC has not acknowledged yet."""

    result: PlcResult
    first_sent_ns: int
    last_sent_ns: int
    deadline_ns: int

    def may_be_sent(self, now_ns: int) -> bool:
        """Whether the PLC may still hear it.

        After the deadline it has rejected the part by itself; an OK would only contradict that.
        """
        return now_ns < self.deadline_ns or self.result.verdict is not Verdict.OK


class Station:
    """State of the cell as the PLC sees it.

    A trigger starts a job only in Ready. During execution, and while a result waits to be
    acknowledged, triggers are refused and counted as overruns.
    """

    def __init__(
        self,
        *,
        resend_ns: int,
        hold_ns: int,
        job_timeout_ns: int,
        num_remembered: int = 1000,
        remember_ns: int = 600 * NS_PER_S,
    ) -> None:
        self.recipe: Recipe | None = None
        self.num_triggers = 0
        self.num_overruns = 0
        self._resend_ns = resend_ns
        self._hold_ns = hold_ns
        self._job_timeout_ns = job_timeout_ns
        self._num_remembered = num_remembered
        self._remember_ns = remember_ns
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._last_acquisition_id = 0
        self._execution: Execution | None = None
        self._pending: _Pending | None = None
        self._job: Job | None = None
        self._is_halted = False
        self._holds: set[str] = set()
        self._faults: dict[str, Alarm] = {}
        self._warnings: dict[str, Alarm] = {}

    # --- state -------------------------------------------------------------------------------

    @property
    def state(self) -> StationState:
        """State of OPC 40100-1 that the station is in."""
        if self._faults:
            return StationState.ERROR
        if self._is_halted:
            return StationState.HALTED
        if self.recipe is None:
            return StationState.PREOPERATIONAL
        if self._execution or self._pending:
            return StationState.SINGLE_EXECUTION
        return StationState.INITIALIZED if self._holds else StationState.READY

    @property
    def execution(self) -> Execution | None:
        """The trigger that waits for its verdict."""
        return self._execution

    @property
    def is_between_jobs(self) -> bool:
        """Whether the recipe may change: no part is half inspected, no result waits."""
        return not (self._execution or self._pending or self._job)

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """Faults first, then warnings."""
        return (*self._faults.values(), *self._warnings.values())[:MAX_ALARMS]

    def hold(self, name: str, *, on: bool) -> bool:
        """Keep the station out of Ready for a passing reason; true when that changed."""
        changed = on is not (name in self._holds)
        (self._holds.add if on else self._holds.discard)(name)
        return changed

    def raise_fault(self, alarm: Alarm) -> bool:
        """Drop Ready until the fault is cleared; true when the alarm is new."""
        changed = self._faults.get(alarm.code) != alarm
        self._faults[alarm.code] = alarm
        return changed

    def clear_fault(self, code: str) -> bool:
        """Whether there was such a fault."""
        return self._faults.pop(code, None) is not None

    def raise_warning(self, alarm: Alarm) -> bool:
        """Show an alarm while inspection goes on; true when it is new."""
        changed = self._warnings.get(alarm.code) != alarm
        self._warnings[alarm.code] = alarm
        return changed

    def clear_warning(self, code: str) -> bool:
        """Whether there was such a warning."""
        return self._warnings.pop(code, None) is not None

    def halt(self) -> None:
        """STOP: refuse triggers until START or RESET; a running cycle still gets its verdict."""
        self._is_halted = True

    def start(self) -> None:
        """START: leave Halted."""
        self._is_halted = False

    def reset(self) -> Job | None:
        """RESET: leave Halted and forget a held result and a half inspected part.

        Returns:
            The part that was given up, if there was one.
        """
        self._is_halted = False
        self._release_pending()
        self._warnings.clear()
        return self._abort_job() if self._execution is None else None

    # --- handshake ---------------------------------------------------------------------------

    def admit(self, trigger: Trigger, *, arrived_ns: int) -> Admission:
        """Decide on a trigger.

        A trigger_id is answered once: repeated, it gets the stored answer, also a refusal. Who
        wants another try uses another trigger_id.
        """
        known = self._known(trigger.trigger_id, arrived_ns)
        if known is not None and known.request != request_of(trigger):
            # The stored answer is about another part: given out here it could pass one unseen.
            return Admission(
                TriggerAck(trigger_id=trigger.trigger_id, rejection=Rejection.ID_REUSED)
            )
        if known is not None:
            return Admission(known.ack, None, known.acquired, known.unpacked(), is_repeat=True)
        rejection = self._rejection_of(trigger)
        if rejection is not None:
            if rejection in {Rejection.BUSY, Rejection.RESULT_PENDING}:
                self.num_overruns += 1
            ack = TriggerAck(trigger_id=trigger.trigger_id, rejection=rejection)
            self._remember(_Answer(request_of(trigger), ack, arrived_ns))
            return Admission(ack)
        return self._accept(trigger, arrived_ns)

    def recall(
        self, request: Request, ack: TriggerAck, result: PlcResult | None, *, at_ns: int
    ) -> None:
        """Take over what an earlier process answered, oldest first, so that a repeat gets it too.

        Args:
            request: part, view and recipe that were asked for.
            ack: the answer to the trigger.
            result: the verdict; None where the trigger was refused.
            at_ns: when that was, on this process's clock; may lie before its beginning.
        """
        acquired = None
        if result is not None and ack.acquisition_id is not None:
            acquired = Acquired(trigger_id=ack.trigger_id, acquisition_id=ack.acquisition_id)
        answer = _Answer(request, ack, at_ns, acquired, result)
        answer.pack()
        self._remember(answer)

    def mark_acquired(self, acquisition_id: int) -> Acquired | None:
        """The picture is taken; None when that trigger was answered already."""
        execution = self._execution
        if execution is None or execution.acquisition_id != acquisition_id:
            return None
        trigger_id = execution.trigger.trigger_id
        acquired = Acquired(trigger_id=trigger_id, acquisition_id=acquisition_id)
        self._answers[trigger_id].acquired = acquired
        return acquired

    def decide(self, decision: ViewDecision, *, model: ModelRef | None, now_ns: int) -> PlcResult:
        """Close the running execution: the result to send, which is then held.

        Raises:
            RuntimeError: nothing is being executed.
        """
        execution = self._execution
        if execution is None:
            raise RuntimeError("a verdict without an execution")
        job = execution.job
        job.decisions[execution.view.name] = decision
        is_partial = bool(job.missing_views)
        whole = decision if is_partial else join_views(tuple(job.decisions.values()))
        result = PlcResult(
            trigger_id=execution.trigger.trigger_id,
            result_id=execution.result_id,
            job_id=job.job_id,
            part_id=job.part_id,
            view=execution.view.name,
            verdict=whole.verdict,
            is_partial=is_partial,
            result_state=whole.result_state,
            reasons=whole.reasons[:MAX_REASONS],
            recipe_id=job.recipe.recipe_id,
            recipe_version=job.recipe.version,
            model=model,
            processing_ms=(now_ns - execution.arrived_ns) / NS_PER_MS,
        )
        self._answers[result.trigger_id].result = result
        self._pending = _Pending(result, now_ns, now_ns, execution.deadline_ns)
        self._execution = None
        if not is_partial:
            self._job = None
        return result

    def acknowledge(self, trigger_id: str) -> bool:
        """The PLC read a result; false when that result was not waiting."""
        if self._pending is None or self._pending.result.trigger_id != trigger_id:
            return False
        self._release_pending()
        return True

    def due(self, now_ns: int, *, may_send: bool = True) -> Due:
        """What is to be done because time passed; call again at `next_due_ns` at the latest.

        Args:
            now_ns: the time.
            may_send: false while the PLC cannot be reached: nothing is resent, the hold goes on.
        """
        resend = given_up = None
        pending = self._pending
        if pending and now_ns - pending.first_sent_ns >= self._hold_ns:
            given_up = pending.result
            self._release_pending()
        elif pending and now_ns - pending.last_sent_ns >= self._resend_ns:
            may_resend = may_send and pending.may_be_sent(now_ns)
            resend, pending.last_sent_ns = (pending.result if may_resend else None), now_ns
        aborted = None
        job = None if self._execution else self._job
        if job and now_ns - job.started_ns >= self._job_timeout_ns:
            aborted = self._abort_job()
        return Due(resend, given_up, aborted)

    def next_due_ns(self) -> int | None:
        """When `due` has something to say, if nothing happens before."""
        times = []
        if self._pending:
            times.append(self._pending.first_sent_ns + self._hold_ns)
            times.append(self._pending.last_sent_ns + self._resend_ns)
        if self._job and not self._execution:
            times.append(self._job.started_ns + self._job_timeout_ns)
        return min(times, default=None)

    def _rejection_of(self, trigger: Trigger) -> Rejection | None:
        if self._faults or self._is_halted or self.recipe is None:
            return Rejection.NOT_READY
        # A trigger during execution is refused, not queued: by the time a queued job ran, the
        # part would have left the camera's field of view.
        if self._execution:
            return Rejection.BUSY
        if self._pending:
            return Rejection.RESULT_PENDING
        if self._holds:
            return Rejection.NOT_READY
        # Only the selected recipe is taken: a PLC and a cell that disagree about the part type
        # would pass bad parts, and the camera is set up for one recipe at a time.
        if trigger.recipe_id != self.recipe.recipe_id:
            return Rejection.UNKNOWN_RECIPE
        return Rejection.UNKNOWN_VIEW if self.recipe.view(trigger.view) is None else None

    def _accept(self, trigger: Trigger, arrived_ns: int) -> Admission:
        recipe, aborted = self.recipe, None
        view = recipe.view(trigger.view) if recipe else None
        if recipe is None or view is None:
            raise RuntimeError("accepted a trigger without recipe or view")
        if self._job and self._job.part_id != trigger.part_id:
            aborted = self._abort_job()
        if self._job is None:
            self._job = Job(uuid4(), trigger.part_id, recipe, arrived_ns)
        self._last_acquisition_id += 1
        self.num_triggers += 1
        deadline_ms = trigger.deadline_ms or recipe.deadline_ms
        self._execution = Execution(
            trigger=trigger,
            acquisition_id=self._last_acquisition_id,
            result_id=uuid4(),
            job=self._job,
            view=view,
            arrived_ns=arrived_ns,
            deadline_ns=arrived_ns + deadline_ms * NS_PER_MS,
        )
        ack = TriggerAck(trigger_id=trigger.trigger_id, acquisition_id=self._last_acquisition_id)
        self._remember(_Answer(request_of(trigger), ack, arrived_ns))
        return Admission(ack, self._execution, aborted=aborted)

    def _known(self, trigger_id: str, now_ns: int) -> _Answer | None:
        known = self._answers.get(trigger_id)
        if known is None or trigger_id == self._running_id:
            return known
        # A PLC that counts from 1 again must not get the answers of its last shift.
        return known if now_ns - known.at_ns < self._remember_ns else None

    @property
    def _running_id(self) -> str | None:
        return self._execution.trigger.trigger_id if self._execution else None

    def _remember(self, answer: _Answer) -> None:
        trigger_id = answer.ack.trigger_id
        self._answers[trigger_id] = answer
        self._answers.move_to_end(trigger_id)
        while len(self._answers) > self._num_remembered:
            oldest = next(iter(self._answers))
            if oldest == self._running_id:  # a flood of refusals must not forget who waits
                self._answers.move_to_end(oldest)
            else:
                del self._answers[oldest]

    def _release_pending(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None and (answer := self._answers.get(pending.result.trigger_id)):
            answer.pack()

    def _abort_job(self) -> Job | None:
        job, self._job = self._job, None
        return job

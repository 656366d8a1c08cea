"""The inspection thread: sole owner of the station, answers the PLC, hands on what it decided.

It waits for nothing but its mailbox. The camera and the model work on the vision thread, records
are made on the recorder thread; so triggers are refused, results resent and deadlines kept while
either of them is busy.
"""

import logging
import threading
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from edge_agent.access import InspectionAccess
from edge_agent.announcer import Announcer
from edge_agent.clock import NS_PER_MS, NS_PER_S
from edge_agent.controls import Controls
from edge_agent.cycle import CycleReport, CycleTask, undecided
from edge_agent.errors import StationFault, StorageError
from edge_agent.jobs import Admission, Execution, request_of, unknown_result
from edge_agent.journal import VerdictJournal
from edge_agent.mailbox import (
    CloudCommand,
    CloudRecipe,
    CycleDone,
    Event,
    FaultSeen,
    LinkChanged,
    Mailbox,
    PictureTaken,
    PlcMessage,
    Probed,
    Recovered,
    Rehearsed,
    Stop,
    StorageChanged,
    SwapRequest,
)
from edge_agent.model_slot import ModelSlot
from edge_agent.outcomes import outcome_of
from edge_agent.ports import Clock, PlcLink
from edge_agent.recorder import Recorder
from edge_agent.repairs import Repairs
from edge_agent.right_of_way import RightOfWay
from edge_agent.slow_parts import SlowParts
from edge_agent.station import Station
from edge_agent.telemetry import Telemetry
from edge_agent.vision import CAMERA, VisionWorker, fault_code, picture_taken
from models.contract.messages import (
    Alarm,
    Command,
    PlcResult,
    ReasonCode,
    Rejection,
    ResultAck,
    Trigger,
    TriggerAck,
)
from models.contract.model import ContractError
from models.contract.topics import Channel

logger = logging.getLogger(__name__)

MAX_WAIT_S = 1.0
STOP_TIMEOUT_S = 10.0
NO_RESULT_ACK = Alarm(
    code="no_result_ack",
    cause="the PLC did not acknowledge a result in time",
    action="Check that the PLC sends result_ack for each result",
)


@dataclass(frozen=True, slots=True)
class Wiring:
    """Everything that the inspection thread works with."""

    clock: Clock
    mailbox: Mailbox
    station: Station
    link: PlcLink
    vision: VisionWorker
    recorder: Recorder
    journal: VerdictJournal
    controls: Controls
    announcer: Announcer
    access: InspectionAccess
    slot: ModelSlot
    right_of_way: RightOfWay
    repairs: Repairs
    telemetry: Telemetry


@dataclass(frozen=True, slots=True)
class Timing:
    """Times that the settings give."""

    grab_timeout_s: float
    hold_result_s: float


class Inspection:
    """Answers the PLC. Everything but `start`, `stop` and `is_alive` runs on its own thread."""

    def __init__(self, wiring: Wiring, timing: Timing) -> None:
        self._w = wiring
        self._timing = timing
        self._station = wiring.station
        self._is_acquired = False
        self._is_intended = False
        self._finished: CycleReport | None = None
        """A verdict that waits until its intent is on the disk."""
        self._waits_since_ns = 0
        self._slow_parts = SlowParts()
        self._is_connected = False
        self._is_stopping = False
        self._result_expiry_s = ceil(timing.hold_result_s)
        self._thread = threading.Thread(target=self._run, name="inspection", daemon=True)

    def start(self) -> None:
        """Open the camera and begin to answer triggers."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the part that is being inspected, say ``stopped``, end."""
        self._w.mailbox.post(Stop())
        if self._thread.ident is not None:
            self._thread.join(STOP_TIMEOUT_S)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    # --- the loop ----------------------------------------------------------------------------

    def _run(self) -> None:
        self._w.repairs.open_camera()
        while not (self._is_stopping and self._station.execution is None):
            event = self._w.mailbox.take(self._wait_s())
            if event is not None:
                self._handle(event)
            self._keep_time()
            self._between_events()
        self._w.slot.close()
        while (left := self._w.mailbox.take(0)) is not None:
            if isinstance(left, SwapRequest):
                self._w.slot.close(left)
        self._w.announcer.say_stopped(self._w.slot.ref)

    def _handle(self, event: Event) -> None:
        match event:
            case PlcMessage():
                self._on_plc(event)
            case PictureTaken():
                self._on_picture_taken(event.acquisition_id)
            case CycleDone():
                self._on_cycle_done(event)
            case FaultSeen():
                self._w.repairs.take_in(event.fault)
            case Recovered() | Probed() | Rehearsed():
                self._w.vision.finished_one()
                self._on_camera(event)
            case SwapRequest():
                self._w.slot.request(event)
            case CloudRecipe():
                self._w.controls.take_recipe(event.desired)
            case CloudCommand():
                self._w.controls.carry_out(event.command)
            case LinkChanged():
                self._is_connected = event.is_connected
                self._w.announcer.announce(self._w.slot.ref, force=event.is_connected)
            case StorageChanged():
                self._w.repairs.storage_changed(event.alarm)
            case Stop():
                self._is_stopping = True
                self._station.halt()

    def _on_camera(self, event: Recovered | Probed | Rehearsed) -> None:
        match event:
            case Recovered():
                self._w.repairs.finish(event)
            case Probed():
                self._w.repairs.take_in(event.fault)
            case Rehearsed():
                self._w.repairs.rehearsed(event)
                self._w.controls.rehearsed(event.recipe, event.fault)

    def _keep_time(self) -> None:
        now_ns = self._now_ns()
        execution = self._station.execution
        if execution is not None and self._finished is not None:
            self._answer_when_kept(execution, self._finished)
        elif execution is not None and now_ns >= execution.answer_by_ns:
            self._answer_late(execution)
        due = self._station.due(now_ns, may_send=self._is_connected)
        if due.resend is not None:
            self._send_result(due.resend)
        if due.given_up is not None and self._station.raise_warning(NO_RESULT_ACK):
            self._w.controls.note("no_result_ack", f"trigger {due.given_up.trigger_id}")
        if due.aborted is not None:
            self._w.controls.note_aborted(due.aborted)
        if self._w.vision.is_idle:
            self._w.repairs.try_due(self._w.slot.active)

    def _between_events(self) -> None:
        station, w = self._station, self._w
        if w.vision.is_idle:
            station.hold("vision", on=False)
        if station.execution is None and w.vision.is_idle:
            w.slot.swap_if_asked()
            w.controls.change_recipe_if_due()
            w.repairs.try_recipe()
        station.hold("recorder", on=not w.recorder.has_room)
        station.hold("model", on=w.slot.active is None)
        if w.mailbox.is_empty():
            w.announcer.announce(w.slot.ref)
        if station.state is not w.access.snapshot.station_state:
            w.telemetry.show_state(station.state)
        w.access.show(
            station, model=w.slot.active, is_connected=self._is_connected, now_ns=self._now_ns()
        )

    def _wait_s(self) -> float:
        times = [self._w.announcer.next_ns(), self._station.next_due_ns()]
        if self._w.vision.is_idle:
            times.append(self._w.repairs.next_ns())
        if self._station.execution is not None:
            times.append(self._station.execution.answer_by_ns)
        first_ns = min(time for time in times if time is not None)
        return min(max(first_ns - self._now_ns(), 0) / NS_PER_S, MAX_WAIT_S)

    # --- what the PLC says -------------------------------------------------------------------

    def _on_plc(self, message: PlcMessage) -> None:
        try:
            if message.channel is Channel.TRIGGER:
                self._on_trigger(Trigger.from_bytes(message.payload), message.arrived_ns)
            elif message.channel is Channel.RESULT_ACK:
                if self._station.acknowledge(ResultAck.from_bytes(message.payload).trigger_id):
                    self._station.clear_warning(NO_RESULT_ACK.code)
            elif message.channel is Channel.COMMAND:
                ack = self._w.controls.carry_out(Command.from_bytes(message.payload))
                self._w.link.send(Channel.COMMAND_ACK, ack)
        except ContractError as error:
            logger.warning("malformed message: %s", error, extra={"channel": str(message.channel)})
            if message.channel is Channel.TRIGGER:
                self._refuse_malformed(message.payload)

    def _on_trigger(self, trigger: Trigger, arrived_ns: int) -> None:
        admission = self._station.admit(trigger, arrived_ns=arrived_ns)
        execution = admission.execution
        if execution is not None:
            self._begin(execution)
            self._w.vision.let_begin()
            answer = "accepted"
        else:
            answer = "repeated" if admission.is_repeat else str(admission.ack.rejection)
        link, expiry_s = self._w.link, _expiry_s(trigger, execution)
        link.send(Channel.ACK, admission.ack, expiry_s=expiry_s)
        if admission.acquired is not None:
            link.send(Channel.ACQUIRED, admission.acquired, expiry_s=expiry_s)
        if admission.result is not None:
            self._send_result(admission.result)
        self._keep_admission(trigger, admission)
        if admission.aborted is not None:
            self._w.controls.note_aborted(admission.aborted)
        self._w.telemetry.count_trigger(answer)

    def _keep_admission(self, trigger: Trigger, admission: Admission) -> None:
        """After the PLC has its answer, while the model works: what a restart must know."""
        now, execution = self._w.clock.now(), admission.execution
        if execution is not None:
            unknown = unknown_result(execution, self._w.slot.ref)
            self._is_intended = self._w.journal.intend(admission.ack, unknown, at=now)
        elif not admission.is_repeat and admission.ack.rejection is not Rejection.ID_REUSED:
            self._w.journal.refuse(admission.ack, request_of(trigger), at=now)

    def _refuse_malformed(self, payload: bytes) -> None:
        self._w.telemetry.count_trigger(str(Rejection.MALFORMED))
        try:
            # The same rules as for a trigger, for the one field that an answer needs.
            trigger_id = ResultAck.from_bytes(payload).trigger_id
        except ContractError:
            return
        ack = TriggerAck(trigger_id=trigger_id, rejection=Rejection.MALFORMED)
        self._w.link.send(Channel.ACK, ack)

    # --- the cycle ---------------------------------------------------------------------------

    def _begin(self, execution: Execution) -> None:
        model = self._w.slot.active
        if model is None:
            raise RuntimeError("a trigger was accepted without a model")
        self._is_acquired = False
        self._finished = None
        self._w.right_of_way.take()
        task = CycleTask(
            part_id=execution.job.part_id,
            recipe=execution.job.recipe,
            view=execution.view,
            answer_by_ns=execution.answer_by_ns,
            grab_timeout_s=self._timing.grab_timeout_s,
            on_acquired=picture_taken(self._w.mailbox.post, execution.acquisition_id),
            on_look=self._w.vision.looks,
        )
        self._w.vision.inspect(execution.acquisition_id, task, model)

    def _on_picture_taken(self, acquisition_id: int) -> None:
        acquired = self._station.mark_acquired(acquisition_id)
        if acquired is not None:
            self._is_acquired = True
            self._w.link.send(Channel.ACQUIRED, acquired, expiry_s=self._result_expiry_s)

    def _on_cycle_done(self, event: CycleDone) -> None:
        self._w.vision.finished_one()
        self._station.hold("vision", on=False)
        execution = self._station.execution
        # A cycle that ends after its deadline was answered already: its verdict is worth nothing.
        if execution is not None and execution.acquisition_id == event.acquisition_id:
            if event.report is not None and self._now_ns() < execution.deadline_ns:
                self._answer_when_kept(execution, event.report)
            elif event.report is not None:
                self._answer_late(execution)
            else:
                self._answer(execution, _fault_report(event.fault))
        self._w.repairs.take_in(event.fault)

    def _answer_when_kept(self, execution: Execution, report: CycleReport) -> None:
        """Answer once a power cut cannot make the part unheard of; the deadline does not wait."""
        is_kept = not self._is_intended or self._w.journal.is_durable(execution.acquisition_id)
        if is_kept or self._now_ns() >= execution.answer_by_ns:
            has_waited, self._finished = self._finished is not None, None
            disk_ns = self._now_ns() - self._waits_since_ns if has_waited else 0
            if not is_kept:
                self._w.telemetry.count_unkept()
            self._answer(execution, report, disk_ms=disk_ns / NS_PER_MS)
        else:
            if self._finished is None:
                self._waits_since_ns = self._now_ns()
            self._finished = report

    def _answer_late(self, execution: Execution) -> None:
        self._w.telemetry.count_late()
        waited_ms = (self._now_ns() - execution.arrived_ns) / NS_PER_MS
        code = ReasonCode.DEADLINE if self._is_acquired else ReasonCode.NO_FRAME
        what = "verdict" if self._is_acquired else "picture"
        self._answer(execution, undecided(code, f"no {what} within {waited_ms:.0f} ms"))

    def _answer(self, execution: Execution, report: CycleReport, *, disk_ms: float = 0.0) -> None:
        """Tell the PLC, then everybody else."""
        w, decided_at = self._w, self._w.clock.now()
        result = self._station.decide(report.decision, model=w.slot.ref, now_ns=self._now_ns())
        self._note_in_journal(result, decided_at)
        self._send_result(result)
        w.right_of_way.release()
        w.repairs.look_at(report.decision.reasons)
        outcome = outcome_of(
            result,
            report,
            recipe=execution.job.recipe,
            view=execution.view,
            model=w.slot.active,
            decided_at=decided_at,
        )
        w.recorder.post_cycle(outcome)
        w.telemetry.count_verdict(result.verdict, processing_ms=result.processing_ms)
        if report.detections is not None:
            w.telemetry.count_inference(report.timings.inference_ms)
            stages = self._slow_parts.take_in(result.processing_ms, report.timings, disk_ms=disk_ms)
            if stages is not None:
                logger.info("slow part", extra={"part": result.part_id, **stages})
        self._station.hold("vision", on=not w.vision.is_idle)

    def _note_in_journal(self, result: PlcResult, decided_at: datetime) -> None:
        try:
            self._w.journal.write(result, decided_at=decided_at)
        except StorageError as error:
            # The verdict goes out all the same; the record is safe once the outbox has it.
            logger.warning("verdict not in the journal: %s", error)

    def _send_result(self, result: PlcResult) -> None:
        self._w.link.send(Channel.RESULT, result, expiry_s=self._result_expiry_s)

    def _now_ns(self) -> int:
        return self._w.clock.monotonic_ns()


def _expiry_s(trigger: Trigger, execution: Execution | None) -> int:
    """Whole seconds (MQTT counts no smaller) until nobody wants the answer any more."""
    deadline_ms = trigger.deadline_ms
    if execution is not None:
        deadline_ms = (execution.deadline_ns - execution.arrived_ns) // NS_PER_MS
    return ceil((deadline_ms or 1000) / 1000)


def _fault_report(fault: StationFault | None) -> CycleReport:
    is_camera = fault is not None and fault_code(fault) == CAMERA
    code = ReasonCode.CAMERA_FAULT if is_camera else ReasonCode.MODEL_FAULT
    return undecided(code, str(fault), failed=True)

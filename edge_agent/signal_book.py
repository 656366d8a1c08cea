"""What PLC and cell say to each other, as the signals that a controls engineer knows. No I/O.

Names follow the In-Sight handshake. Times are of whoever listens, so they include the network.
"""

from collections import Counter, OrderedDict, deque
from dataclasses import asdict, dataclass
from typing import Any

from edge_agent.clock import NS_PER_MS, NS_PER_S
from models.contract.messages import (
    Acquired,
    Command,
    CommandAck,
    Connection,
    Message,
    PlcResult,
    ResultAck,
    StationState,
    StationStatus,
    Trigger,
    TriggerAck,
)
from models.contract.model import ContractError
from models.contract.topics import Channel

PARSERS: dict[Channel, type[Message]] = {
    Channel.STATE: StationStatus,
    Channel.TRIGGER: Trigger,
    Channel.ACK: TriggerAck,
    Channel.ACQUIRED: Acquired,
    Channel.RESULT: PlcResult,
    Channel.RESULT_ACK: ResultAck,
    Channel.COMMAND: Command,
    Channel.COMMAND_ACK: CommandAck,
}
MAX_OPEN = 1_000
STALE_NS = 3 * NS_PER_S
"""The heartbeat comes every second; after three of them nothing that is shown counts as live."""


@dataclass(slots=True)
class PartLine:
    """One trigger and what came of it."""

    trigger_id: str
    part_id: str
    view: str
    at_ns: int
    ack_ms: float | None = None
    acquired_ms: float | None = None
    result_ms: float | None = None
    answer: str = ""
    """Verdict, or why the trigger was refused."""
    reasons: str = ""
    num_results: int = 0
    num_triggers: int = 1
    is_acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class Signals:
    """The handshake's lines at one moment."""

    online: bool
    ready: bool
    trigger: bool
    """A trigger is out that the cell has not answered."""
    trigger_ack: bool
    acquisition_id: int | None
    acquisition_done: bool
    inspection_completed: bool
    results_valid: bool
    """A result waits for results_ack."""
    results_ack: bool
    overrun: bool
    """The last trigger was refused because the station was busy."""
    error: bool


class SignalBook:
    """Fed with every message of a cell, by one thread at a time."""

    def __init__(self, *, num_lines: int = 10) -> None:
        self.status: StationStatus | None = None
        self.counters: Counter[str] = Counter()
        self.lines: deque[PartLine] = deque(maxlen=num_lines)
        """The last triggers, oldest first."""
        self.last_fault = ""
        """The last message that keeps no contract."""
        self._heard_ns = 0
        self._open: OrderedDict[str, PartLine] = OrderedDict()
        self._acquisition_id: int | None = None
        self._is_overrun = False

    def take_in(self, channel: Channel, payload: bytes, now_ns: int) -> None:
        """One message; what cannot be read is counted."""
        parser = PARSERS.get(channel)
        if parser is None:
            return
        try:
            message = parser.from_bytes(payload)
        except ContractError as error:
            self.counters["malformed"] += 1
            self.last_fault = f"{channel}: {error}"
            return
        match message:
            case StationStatus():
                self.status, self._heard_ns = message, now_ns
                self.counters["heartbeats"] += 1
            case Trigger():
                self._on_trigger(message, now_ns)
            case TriggerAck():
                self._on_ack(message, now_ns)
            case Acquired():
                self._on_acquired(message, now_ns)
            case PlcResult():
                self._on_result(message, now_ns)
            case ResultAck():
                self._on_result_ack(message)
            case Command():
                self.counters["commands"] += 1
            case CommandAck():
                self.counters["commands_accepted" if message.accepted else "commands_refused"] += 1

    def signals(self, now_ns: int) -> Signals:
        """The lines now."""
        status, last = self.status, self.lines[-1] if self.lines else None
        is_online = self.is_live(now_ns)
        state = status.station_state if status and is_online else None
        is_waiting = last is not None and not last.answer
        return Signals(
            online=is_online,
            ready=state is StationState.READY,
            trigger=last is not None and last.ack_ms is None and not last.answer,
            trigger_ack=is_waiting and last is not None and last.ack_ms is not None,
            acquisition_id=self._acquisition_id,
            acquisition_done=last is not None and last.acquired_ms is not None,
            inspection_completed=last is not None and last.num_results > 0,
            results_valid=any(
                line.num_results and not line.is_acknowledged for line in self._open.values()
            ),
            results_ack=last is not None and last.is_acknowledged,
            overrun=self._is_overrun,
            error=state is StationState.ERROR,
        )

    def is_live(self, now_ns: int) -> bool:
        """Whether the cell is there: online, and heard of lately."""
        status = self.status
        return (
            status is not None
            and status.connection is Connection.ONLINE
            and now_ns - self._heard_ns < STALE_NS
        )

    def age_s(self, now_ns: int) -> float | None:
        """Seconds since the last heartbeat; None: never heard of."""
        return None if self.status is None else (now_ns - self._heard_ns) / NS_PER_S

    def as_dict(self, now_ns: int) -> dict[str, Any]:
        """Everything, for machines."""
        age_s = self.age_s(now_ns)
        return {
            "signals": asdict(self.signals(now_ns)),
            "status": self.status.model_dump(mode="json") if self.status else None,
            "status_age_s": None if age_s is None else round(age_s, 3),
            "counters": dict(self.counters),
            "last": [
                {name: value for name, value in asdict(line).items() if name != "at_ns"}
                for line in self.lines
            ],
            "last_fault": self.last_fault,
        }

    def _on_trigger(self, trigger: Trigger, now_ns: int) -> None:
        known = self._open.get(trigger.trigger_id)
        if known is not None:
            known.num_triggers += 1
            self.counters["repeated_triggers"] += 1
            return
        self.counters["triggers"] += 1
        self._is_overrun = False
        line = PartLine(trigger.trigger_id, trigger.part_id, trigger.view, now_ns)
        self.lines.append(line)
        self._open[trigger.trigger_id] = line
        while len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)

    def _on_ack(self, ack: TriggerAck, now_ns: int) -> None:
        self.counters[f"refused_{ack.rejection}" if ack.rejection else "accepted"] += 1
        line = self._open.get(ack.trigger_id)
        if ack.rejection is not None:
            self._is_overrun = ack.rejection in {"busy", "result_pending"}
        else:
            self._acquisition_id = ack.acquisition_id
        if line is not None and line.ack_ms is None:
            line.ack_ms = _ms(line, now_ns)
            line.answer = f"refused: {ack.rejection}" if ack.rejection else ""

    def _on_acquired(self, acquired: Acquired, now_ns: int) -> None:
        line = self._open.get(acquired.trigger_id)
        if line is not None and line.acquired_ms is None:
            line.acquired_ms = _ms(line, now_ns)

    def _on_result(self, result: PlcResult, now_ns: int) -> None:
        line = self._open.get(result.trigger_id)
        if line is None:
            self.counters["results_without_trigger"] += 1
            return
        line.num_results += 1
        if line.num_results > 1:
            self.counters["results_resent"] += 1
            return
        self.counters[f"verdict_{result.verdict}"] += 1
        line.result_ms = _ms(line, now_ns)
        line.answer = str(result.verdict) + (" (partial)" if result.is_partial else "")
        line.reasons = "; ".join(reason.text or str(reason.code) for reason in result.reasons[:3])

    def _on_result_ack(self, ack: ResultAck) -> None:
        self.counters["results_acknowledged"] += 1
        line = self._open.get(ack.trigger_id)
        if line is not None:
            line.is_acknowledged = True


def _ms(line: PartLine, now_ns: int) -> float:
    return round((now_ns - line.at_ns) / NS_PER_MS, 2)

"""A PLC under full control: sends what it is told to, keeps everything that the cell says."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

from models.contract.messages import (
    Acquired,
    Command,
    CommandAck,
    Message,
    PlcResult,
    ResultAck,
    StationState,
    StationStatus,
    Trigger,
    TriggerAck,
)
from models.contract.topics import CellAddress, Channel, split_topic
from simulators.broker_link import BrokerAddress, BrokerLink

LISTENED = (Channel.STATE, Channel.ACK, Channel.ACQUIRED, Channel.RESULT, Channel.COMMAND_ACK)


@dataclass(slots=True)
class Answers:
    """Everything that came back for one trigger, in the order of its arrival."""

    acks: list[TriggerAck] = field(default_factory=list)
    acquired: list[Acquired] = field(default_factory=list)
    results: list[PlcResult] = field(default_factory=list)


class PlcProbe:
    """Speaks the contract as badly as its caller wants.

    Args:
        cell: whose topics.
        broker: the cell's broker.
        recipe_id: recipe that triggers name.
        deadline_ms: time that triggers give.
    """

    def __init__(
        self, cell: CellAddress, broker: BrokerAddress, *, recipe_id: str, deadline_ms: int = 500
    ) -> None:
        self.status: StationStatus | None = None
        self.heard_at: list[float] = []
        """When each status came, seconds of the monotonic clock."""
        self.recipe_id = recipe_id
        self.deadline_ms = deadline_ms
        self._cell = cell
        self._broker = broker
        self._changed = threading.Condition()
        self._answers: dict[str, Answers] = defaultdict(Answers)
        self._command_acks: dict[str, list[CommandAck]] = defaultdict(list)
        self._link = self._make_link()

    def start(self) -> None:
        """Connect.

        Raises:
            SimulatorError: there is no broker.
        """
        self._link.start()

    def stop(self) -> None:
        """Disconnect."""
        self._link.stop()

    def reconnect(self) -> None:
        """Lose the connection with everything that was on the way, and come back."""
        self._link.stop()
        self._link = self._make_link()
        self._link.start()

    def trigger(self, trigger_id: str | None = None, **fields: object) -> str:
        """Send a trigger; gives its id."""
        values = {
            "trigger_id": trigger_id or uuid4().hex,
            "part_id": f"probe-{uuid4().hex[:8]}",
            "recipe_id": self.recipe_id,
            "deadline_ms": self.deadline_ms,
        } | fields
        message = Trigger.model_validate(values)
        self.send(Channel.TRIGGER, message)
        return message.trigger_id

    def send_trigger(self, trigger: Trigger) -> None:
        """Send this very trigger, perhaps for the second time."""
        self.send(Channel.TRIGGER, trigger)

    def acknowledge(self, trigger_id: str) -> None:
        """Say that a result was read."""
        self.send(Channel.RESULT_ACK, ResultAck(trigger_id=trigger_id))

    def command(self, command: Command) -> None:
        """Send a command."""
        self.send(Channel.COMMAND, command)

    def send(self, channel: Channel, message: Message | bytes) -> None:
        """Publish anything."""
        payload = message if isinstance(message, bytes) else message.to_bytes()
        self._link.publish(self._cell.topic(channel), payload, expiry_s=60)

    @property
    def alarm_codes(self) -> tuple[str, ...]:
        """Alarms that the station shows."""
        return tuple(alarm.code for alarm in self.status.alarms) if self.status else ()

    def answers(self, trigger_id: str) -> Answers:
        """What came so far."""
        with self._changed:
            found = self._answers[trigger_id]
            return Answers(list(found.acks), list(found.acquired), list(found.results))

    def command_acks(self, command_id: str) -> list[CommandAck]:
        """What came so far."""
        with self._changed:
            return list(self._command_acks[command_id])

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until something that was heard makes it true; whether that came to be."""
        end = time.monotonic() + timeout_s
        with self._changed:
            while not condition():
                left_s = end - time.monotonic()
                if left_s <= 0:
                    return False
                self._changed.wait(min(left_s, 0.1))
        return True

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until the station takes a trigger."""
        return self.wait(
            lambda: self.status is not None and self.status.station_state is StationState.READY,
            timeout_s,
        )

    def _make_link(self) -> BrokerLink:
        return BrokerLink(
            self._broker,
            f"probe-{uuid4().hex[:12]}",
            subscriptions=[self._cell.topic(channel) for channel in LISTENED],
            on_message=self._receive,
        )

    def _receive(self, topic: str, payload: bytes) -> None:
        _, channel = split_topic(topic)
        with self._changed:
            if channel is Channel.ACK:
                ack = TriggerAck.from_bytes(payload)
                self._answers[ack.trigger_id].acks.append(ack)
            elif channel is Channel.ACQUIRED:
                acquired = Acquired.from_bytes(payload)
                self._answers[acquired.trigger_id].acquired.append(acquired)
            elif channel is Channel.RESULT:
                result = PlcResult.from_bytes(payload)
                self._answers[result.trigger_id].results.append(result)
            elif channel is Channel.COMMAND_ACK:
                command_ack = CommandAck.from_bytes(payload)
                self._command_acks[command_ack.command_id].append(command_ack)
            else:
                self.status = StationStatus.from_bytes(payload)
                self.heard_at.append(time.monotonic())
            self._changed.notify_all()

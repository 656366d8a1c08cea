"""A PLC that speaks the contract: trigger, ack, acquired, result, result_ack.

It measures trigger-to-result on its own clock, and can misbehave as a real one does: repeat a
trigger, never acknowledge a result.
"""

import random
import threading
import time
from dataclasses import dataclass
from uuid import uuid4

from models.contract.messages import (
    Acquired,
    Command,
    CommandAck,
    CommandKind,
    Connection,
    PlcResult,
    Rejection,
    ResultAck,
    StationState,
    StationStatus,
    Trigger,
    TriggerAck,
    Verdict,
)
from models.contract.model import ContractError
from models.contract.topics import CellAddress, Channel, split_topic
from simulators.broker_link import BrokerAddress, BrokerLink
from simulators.handshake import Exchange, PlcStatistics, TriggerBook

LISTENED = (
    Channel.STATE,
    Channel.ACK,
    Channel.ACQUIRED,
    Channel.RESULT,
    Channel.COMMAND_ACK,
)
RETRY_PAUSE_S = 0.05
RETRIED = frozenset({Rejection.BUSY, Rejection.NOT_READY, Rejection.RESULT_PENDING})
"""Rejections after which the part waits and is triggered anew; the others are mistakes."""
COMMAND_TIMEOUT_S = 2.0
READY_STATES = frozenset(
    {StationState.READY, StationState.SINGLE_EXECUTION, StationState.CONTINUOUS_EXECUTION}
)


@dataclass(frozen=True, slots=True)
class PlcSettings:
    """How this PLC behaves.

    Attributes:
        recipe_id: Recipe that its triggers name.
        view: View that its triggers name.
        deadline_ms: Time it gives the station; the recipe's when None.
        patience_s: How long after a trigger it waits for the result before it gives up.
        repeat_ratio: Share of triggers that it sends twice with the same id.
        acknowledges: False is the PLC that never sends result_ack.
    """

    recipe_id: str
    view: str = "main"
    deadline_ms: int | None = 1000
    patience_s: float = 3.0
    repeat_ratio: float = 0.0
    acknowledges: bool = True


class Plc:
    """The PLC of one cell; `inspect` is called by one thread at a time."""

    def __init__(
        self, cell: CellAddress, broker: BrokerAddress, settings: PlcSettings, *, seed: int = 0
    ) -> None:
        self.cell = cell
        self.settings = settings
        self._book = TriggerBook()
        self._changed = threading.Condition()
        self._status: StationStatus | None = None
        self._command_acks: dict[str, CommandAck] = {}
        self._random = random.Random(seed)  # noqa: S311 - decides misbehaviour, not secrets
        self._link = BrokerLink(
            broker,
            f"plc-{str(cell).replace('/', '-')}-{uuid4().hex[:6]}",
            subscriptions=[cell.topic(channel) for channel in LISTENED],
            on_message=self._receive,
            on_lost=self._lost,
        )

    def start(self) -> None:
        """Connect to the cell's broker.

        Raises:
            SimulatorError: there is none.
        """
        self._link.start()

    def stop(self) -> None:
        """Disconnect."""
        self._link.stop()

    @property
    def status(self) -> StationStatus | None:
        """What the station last said about itself."""
        return self._status

    @property
    def is_station_ready(self) -> bool:
        """Whether a trigger would be taken now, as far as this PLC knows."""
        status = self._status
        return (
            self._link.is_ready
            and status is not None
            and status.connection is Connection.ONLINE
            and status.station_state in READY_STATES
        )

    def wait_station_ready(self, timeout_s: float) -> bool:
        """Wait until the station is ready; whether that came true."""
        with self._changed:
            return self._changed.wait_for(lambda: self.is_station_ready, timeout_s)

    def statistics(self) -> PlcStatistics:
        """What happened so far."""
        with self._changed:
            return self._book.statistics()

    def exchanges(self) -> tuple[Exchange, ...]:
        """Every trigger so far, oldest first."""
        with self._changed:
            return self._book.exchanges

    def inspect(self, part_id: str, *, stop: threading.Event | None = None) -> Exchange:
        """Have one part inspected.

        A rejection that means "not now" is tried again with a new trigger id for as long as
        ``patience_s``, as the part still stands there.

        Returns:
            The last exchange: with a result, a rejection, or missed.
        """
        give_up_at = time.monotonic() + self.settings.patience_s
        while True:
            exchange = self._trigger_once(part_id)
            again = exchange.rejection in RETRIED and time.monotonic() < give_up_at
            if not again or (stop is not None and stop.is_set()):
                return exchange
            time.sleep(RETRY_PAUSE_S)

    def report_truth(self, part_id: str, actual: Verdict) -> bool:
        """Tell the station what a part turned out to be; whether it took that."""
        command = Command(
            command_id=uuid4().hex,
            kind=CommandKind.REPORT_TRUTH,
            part_id=part_id,
            actual=actual,
        )
        return self.send_command(command)

    def send_command(self, command: Command) -> bool:
        """Send a command and wait for its acknowledgement; whether it was accepted."""
        self._link.publish(self.cell.topic(Channel.COMMAND), command.to_bytes(), expiry_s=5)
        with self._changed:
            answered = self._changed.wait_for(
                lambda: command.command_id in self._command_acks, COMMAND_TIMEOUT_S
            )
            return answered and self._command_acks.pop(command.command_id).accepted

    def _trigger_once(self, part_id: str) -> Exchange:
        trigger = Trigger(
            trigger_id=uuid4().hex,
            part_id=part_id,
            recipe_id=self.settings.recipe_id,
            view=self.settings.view,
            deadline_ms=self.settings.deadline_ms,
        )
        with self._changed:
            exchange = self._book.sent(trigger, time.monotonic_ns())
            exchange.connected = self._link.is_ready
        self._publish(trigger)
        if self._random.random() < self.settings.repeat_ratio:
            self._repeat(trigger)
        with self._changed:
            self._changed.wait_for(lambda: exchange.is_done, self.settings.patience_s)
            self._book.give_up(exchange)
        return exchange

    def _repeat(self, trigger: Trigger) -> None:
        with self._changed:
            self._book.sent(trigger, time.monotonic_ns())
        self._publish(trigger)

    def _publish(self, trigger: Trigger) -> None:
        deadline_ms = trigger.deadline_ms or 1000
        self._link.publish(
            self.cell.topic(Channel.TRIGGER),
            trigger.to_bytes(),
            expiry_s=max(1, -(-deadline_ms // 1000)),
        )

    def _lost(self) -> None:
        with self._changed:
            self._book.on_connection_lost()

    def _receive(self, topic: str, payload: bytes) -> None:
        now_ns = time.monotonic_ns()
        try:
            _, channel = split_topic(topic)
            with self._changed:
                self._handle(channel, payload, now_ns)
                self._changed.notify_all()
        except ContractError:
            # Not for this PLC to judge: what it cannot read, it has not received.
            return

    def _handle(self, channel: Channel, payload: bytes, now_ns: int) -> None:
        if channel is Channel.ACK:
            self._book.on_ack(TriggerAck.from_bytes(payload), now_ns)
        elif channel is Channel.ACQUIRED:
            self._book.on_acquired(Acquired.from_bytes(payload), now_ns)
        elif channel is Channel.RESULT:
            result = PlcResult.from_bytes(payload)
            if self._book.on_result(result, now_ns) and self.settings.acknowledges:
                ack = ResultAck(trigger_id=result.trigger_id)
                self._link.publish(self.cell.topic(Channel.RESULT_ACK), ack.to_bytes())
        elif channel is Channel.STATE:
            self._status = StationStatus.from_bytes(payload)
        elif channel is Channel.COMMAND_ACK:
            ack_ = CommandAck.from_bytes(payload)
            self._command_acks[ack_.command_id] = ack_

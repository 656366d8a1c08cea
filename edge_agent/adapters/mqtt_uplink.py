"""The way to the cloud over MQTT v5: drains the outbox, takes in what the cloud wants.

Records go before pictures and fresh ones before old. A row stays in the outbox until an
`IngestAck` names it; PUBACK alone moves nothing.

Wiring::

    uplink = MqttUplink(
        access=BrokerAccess(host, port, client_id), cell=address, outbox=outbox, inbox=inbox,
        on_model=updater.desire, report=make_report, monotonic_ns=clock.monotonic_ns)
    outbox.on_append = uplink.wake
    uplink.start() … uplink.report_now() after a change … uplink.stop()
"""

import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from edge_agent.adapters.mqtt_connection import (
    MAX_INFLIGHT,
    BrokerAccess,
    Connected,
    ConnectionEvent,
    Disconnected,
    MqttConnection,
    Published,
    Received,
)
from edge_agent.errors import StorageError
from edge_agent.inspection_ports import CloudInbox
from edge_agent.outbox_rows import OutboxRow
from edge_agent.priority import be_patient
from edge_agent.token_bucket import NS_PER_S, TokenBucket
from edge_agent.uplink import MAX_PASSED, RowFeed, RowSource, SendWindow, pieces_of
from models.contract.messages import (
    MAX_IMAGE_BYTES,
    MAX_MESSAGE_BYTES,
    Command,
    DesiredModel,
    DesiredRecipe,
    ImageHeader,
    IngestAck,
    Refusal,
    Reported,
    Stream,
)
from models.contract.model import ContractError
from models.contract.topics import CellAddress, Channel

logger = logging.getLogger(__name__)

IDLE_S = 0.5
STOP_TIMEOUT_S = 10.0
LINGER_S = 1.0
"""For what was published last; rows are in the outbox, so that nothing is lost without it."""
MAX_EVENTS = 1_000
"""Taken in before the next rows are sent."""
MAX_UNANSWERED = 3 * MAX_INFLIGHT
"""Records that the broker has not answered for: what the network thread, which gives way to nobody,
may still have before it when a part comes; some 9 ms."""
MAX_SETTLED = 64
"""Rows that leave the outbox at once: some 2 ms of work."""
DOWNLINK = (
    Channel.INGEST_ACK,
    Channel.DESIRED_MODEL,
    Channel.DESIRED_RECIPE,
    Channel.CLOUD_COMMAND,
)


@dataclass(frozen=True, slots=True)
class UplinkLimits:
    """How much may be on the way.

    Attributes:
        records: rows at once.
        images: pictures at once.
        resend_s: wait for an acknowledgement before a row is sent again.
        report_s: period of the reported state; changes go at once.
        image_bytes_per_s: bandwidth for pictures; None: no limit.
    """

    records: int = 200
    images: int = 8
    resend_s: float = 10.0
    report_s: float = 10.0
    image_bytes_per_s: float | None = None


class UplinkOutbox(RowSource, Protocol):
    """The outbox, as far as the uplink needs it."""

    def picture(self, row: OutboxRow) -> bytes:
        """Bytes of a waiting picture."""
        ...

    def settle(self, *acks: IngestAck) -> int:
        """Let go of what the cloud has."""
        ...


class MqttUplink:
    """Sends from a thread of its own; the network has another one.

    Args:
        access: the uplink broker.
        cell: whose topics.
        outbox: what is to be sent.
        inbox: who takes recipes and commands.
        on_model: who takes the desired model; must only enqueue.
        report: the reported state as it is now; called on any thread.
        monotonic_ns: the clock.
        limits: how much may be on the way.
        give_way: called before each piece of work; waits while a part is judged.

    Raises:
        ConfigurationError: a TLS file cannot be used.
    """

    def __init__(
        self,
        *,
        access: BrokerAccess,
        cell: CellAddress,
        outbox: UplinkOutbox,
        inbox: CloudInbox,
        on_model: Callable[[DesiredModel], None],
        report: Callable[[], Reported],
        monotonic_ns: Callable[[], int],
        limits: UplinkLimits | None = None,
        give_way: Callable[[], None] = lambda: None,
    ) -> None:
        self._limits = limits or UplinkLimits()
        self._cell = cell
        self._outbox = outbox
        self._inbox = inbox
        self._on_model = on_model
        self._report = report
        self._give_way = give_way
        self._monotonic_ns = monotonic_ns
        self._events: queue.SimpleQueue[ConnectionEvent | Reported | None] = queue.SimpleQueue()
        self._is_woken = threading.Event()
        self._stopping = threading.Event()
        self._max_payload_bytes: int | None = None
        self._reported_ns = 0
        sizes = {Stream.RECORDS: self._limits.records, Stream.IMAGES: self._limits.images}
        self._feeds = {stream: RowFeed(outbox, stream) for stream in Stream}
        self._windows = {
            stream: SendWindow(
                size=sizes[stream], resend_s=self._limits.resend_s, monotonic_ns=monotonic_ns
            )
            for stream in Stream
        }
        self._held_image: OutboxRow | None = None  # until the bandwidth allows it
        rate = self._limits.image_bytes_per_s
        self._bandwidth = TokenBucket(rate, rate, monotonic_ns) if rate else None
        topics = [cell.topic(channel) for channel in DOWNLINK]
        self._connection = MqttConnection(access, listener=self._events.put, subscriptions=topics)
        self._thread = threading.Thread(target=self._run, name="uplink", daemon=True)

    def start(self) -> None:
        """Connect and send in the background, for as long as it takes."""
        self._connection.start()
        self._thread.start()

    def stop(self) -> None:
        """Stop sending; what is not acknowledged stays in the outbox."""
        self._stopping.set()
        self._events.put(None)
        if self._thread.ident is not None:
            self._thread.join(STOP_TIMEOUT_S)
        self._connection.stop(LINGER_S)

    @property
    def is_connected(self) -> bool:
        """Whether the uplink broker is reachable now."""
        return self._connection.is_connected

    @property
    def is_alive(self) -> bool:
        """Whether the sending thread runs."""
        return self._thread.is_alive()

    def wake(self) -> None:
        """There is something new in the outbox; never blocks."""
        if not self._is_woken.is_set():
            self._is_woken.set()
            self._events.put(None)

    def report_now(self) -> None:
        """Publish the reported state as it is at this moment."""
        self._events.put(self._report())

    # --- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        be_patient()
        while not self._stopping.is_set():
            try:
                self._turn()
            except Exception:
                # The thread's boundary: a row that cannot be handled must not end the uplink.
                logger.exception("uplink turn failed")
                self._stopping.wait(IDLE_S)

    def _turn(self) -> None:
        self._take_in()
        self._connection.ensure_alive()
        if not self._connection.is_connected:
            return
        if self._monotonic_ns() - self._reported_ns > self._limits.report_s * NS_PER_S:
            self._publish_report(self._report())
        if self._send_records():
            self._send_images()

    def _take_in(self) -> None:
        acks: list[IngestAck] = []
        with suppress(queue.Empty):
            event = self._events.get(timeout=IDLE_S)
            for _ in range(MAX_EVENTS):
                self._is_woken.clear()
                self._handle(event, acks)
                event = self._events.get_nowait()
        for piece in pieces_of(acks, MAX_SETTLED):
            self._give_way()
            self._outbox.settle(*piece)
            for ack in piece:
                seqs = (*ack.seqs, *(refusal.seq for refusal in ack.refused))
                self._windows[ack.stream].settle((ack.stream, ack.boot_id, seq) for seq in seqs)

    def _handle(self, event: ConnectionEvent | Reported | None, acks: list[IngestAck]) -> None:
        match event:
            case Received(topic, payload):
                self._receive(topic, payload, acks)
            case Connected(max_payload_bytes):
                logger.info("uplink connected")
                self._max_payload_bytes = max_payload_bytes
                self._reported_ns = -(2**62)
                for stream in Stream:
                    self._feeds[stream].prefer_fresh()
                    self._windows[stream].be_hopeful()
            case Disconnected(cause):
                logger.warning("uplink disconnected: %s", cause)
            case Published(_, cause) if cause is not None:
                # The row is in the window still and goes again when its time is up.
                logger.warning("broker refused a message: %s", cause)
            case Reported():
                self._publish_report(event)
            case _:
                pass

    def _receive(self, topic: str, payload: bytes, acks: list[IngestAck]) -> None:
        try:
            if topic == self._cell.topic(Channel.INGEST_ACK):
                acks.append(IngestAck.from_bytes(payload))
            elif topic == self._cell.topic(Channel.DESIRED_MODEL) and payload:
                self._on_model(DesiredModel.from_bytes(payload))
            elif topic == self._cell.topic(Channel.DESIRED_RECIPE) and payload:
                self._inbox.post_recipe(DesiredRecipe.from_bytes(payload))
            elif topic == self._cell.topic(Channel.CLOUD_COMMAND):
                self._inbox.post_command(Command.from_bytes(payload))
        except ContractError as error:
            logger.warning("message from the cloud ignored: %s", error)

    def _publish_report(self, reported: Reported) -> None:
        topic = self._cell.topic(Channel.REPORTED)
        if self._connection.publish(topic, reported.to_bytes(), retain=True) is not None:
            self._reported_ns = self._monotonic_ns()

    # --- sending -----------------------------------------------------------------------------

    def _send_records(self) -> bool:
        """Send what there is; true when no record waits to be sent."""
        window = self._windows[Stream.RECORDS]
        self._set_poisoned_aside(window)
        for row in window.overdue():
            self._send(row)
        room = min(window.room, MAX_UNANSWERED - self._connection.num_unanswered)
        rows = self._feeds[Stream.RECORDS].take(room)
        for row in rows:
            if row.key not in window:
                self._send(row)
        return len(rows) < room

    def _send_images(self) -> None:
        window = self._windows[Stream.IMAGES]
        self._set_poisoned_aside(window)
        for row in window.overdue():
            self._send(row)
        while window.room:
            waiting = [self._held_image] if self._held_image else self._take_image()
            if not waiting:
                return
            self._held_image = None
            if self._bandwidth is not None and not self._bandwidth.take(waiting[0].num_bytes):
                self._held_image = waiting[0]
                return
            if waiting[0].key not in window:
                self._send(waiting[0])

    def _take_image(self) -> list[OutboxRow]:
        return self._feeds[Stream.IMAGES].take(1)

    def _send(self, row: OutboxRow) -> None:
        self._give_way()
        try:
            payload = self._payload(row)
            header = ImageHeader.from_bytes(row.body) if row.stream is Stream.IMAGES else None
        except (StorageError, ContractError) as error:
            self._set_aside(row, str(error))
            return
        window = self._windows[row.stream]
        window.add(row)  # also when the connection is lost at this moment: its time runs out
        if header is None:
            self._connection.publish(
                self._cell.topic(Channel.EVENT), payload, content_type="application/json"
            )
            return
        self._connection.publish(
            self._cell.topic(Channel.IMAGE),
            payload,
            content_type=header.content_type,
            user_properties=header.to_user_properties(),
        )

    def _payload(self, row: OutboxRow) -> bytes:
        """What goes over the wire.

        Raises:
            StorageError: the picture is gone or damaged.
            ContractError: it is larger than the contract or the broker takes.
        """
        payload = row.body if row.stream is Stream.RECORDS else self._outbox.picture(row)
        limit = MAX_MESSAGE_BYTES if row.stream is Stream.RECORDS else MAX_IMAGE_BYTES
        if self._max_payload_bytes is not None:
            limit = min(limit, self._max_payload_bytes)
        # One message over the broker's limit would wedge the client: it is sent again for ever.
        if len(payload) > limit:
            raise ContractError(f"{len(payload)} bytes are over the limit of {limit}")
        return payload

    def _set_poisoned_aside(self, window: SendWindow) -> None:
        for row in window.poisoned():
            self._set_aside(row, f"never acknowledged, while {MAX_PASSED} times others were")

    def _set_aside(self, row: OutboxRow, cause: str) -> None:
        logger.error("row set aside: %s", cause)
        refusal = Refusal(seq=row.seq, cause=cause[:200])
        self._outbox.settle(IngestAck(stream=row.stream, boot_id=row.boot_id, refused=(refusal,)))
        self._windows[row.stream].settle([row.key])

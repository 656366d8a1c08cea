"""From the broker into the database: commit first, then acknowledge.

A cell keeps every record until an `IngestAck` names it, and that is sent only after the commit;
the broker's own acknowledgement says nothing about durability. So any process on the way may die
at any moment: the cell sends again, and the unique key makes the second time harmless.

Records and pictures have a connection and a writer each, so that slow or full picture storage
never holds up verdicts. The broker's receive maximum bounds what is held in memory.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import paho.mqtt.client as mqtt
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from cloud.arrivals import (
    Arrival,
    Delivery,
    RecordArrival,
    RefusedArrival,
    acknowledgements,
    read_delivery,
)
from cloud.broker import BrokerLink
from cloud.errors import CloudError, ConfigurationError, UnavailableError
from cloud.ingest_store import IngestStore
from cloud.settings import BrokerSettings, IngestSettings
from models.contract.messages import Stream
from models.contract.topics import Channel, every_cell

LOGGER = logging.getLogger(__name__)
IDLE_WAIT_S = 0.25
# When nothing followed for this long, a fuller batch is not worth the wait.
LULL_S = 0.002
HOLD_UP_S = 2.0
"""Longer than a batch takes, shorter than what the broker takes for a dead client."""
FIRST_RETRY_S = 0.2
RETRY_CAP_S = 5.0
LAG_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3_600, 86_400)
"""A cell that was cut off sends what it kept: its records are as old as that."""


class IngestMetrics:
    """What Prometheus learns about one ingest process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ["stream"]
        self.taken = Counter(
            "sightline_ingest_taken", "Messages committed", labels, registry=registry
        )
        self.refused = Counter(
            "sightline_ingest_refused", "Messages that became dead letters", labels,
            registry=registry,
        )  # fmt: skip
        self.retries = Counter(
            "sightline_ingest_retries", "Batches that could not be committed", labels,
            registry=registry,
        )  # fmt: skip
        self.commit_s = Histogram(
            "sightline_ingest_commit_seconds", "Time to commit a batch", labels, registry=registry
        )
        self.lag_s = Histogram(
            "sightline_ingest_lag_seconds", "Age of a batch's oldest record when it was committed",
            buckets=LAG_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self.connected = Gauge(
            "sightline_ingest_connected", "Whether this stream has the broker", labels,
            registry=registry,
        )  # fmt: skip
        self.waiting = Gauge(
            "sightline_ingest_waiting", "Messages in memory, not yet committed", labels,
            registry=registry,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Held:
    message: mqtt.MQTTMessage
    generation: int
    received_at: datetime


class Consumer:
    """One stream from the broker to the store: the writer thread runs `run`."""

    def __init__(
        self,
        stream: Stream,
        link: BrokerLink,
        store: IngestStore,
        *,
        settings: IngestSettings,
        metrics: IngestMetrics,
        capacity: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._stream = stream
        self._link = link
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._now = now
        # Twice the receive maximum: retained state at QoS 0 is not counted by the broker.
        self._queue: queue.Queue[_Held] = queue.Queue(maxsize=2 * capacity)
        self._stopping = threading.Event()
        link.on_message = self._on_message

    def _on_message(self, message: mqtt.MQTTMessage) -> None:
        try:
            # Holding up the network thread holds up the broker: mosquitto 2.0 sends beyond the
            # receive maximum once acknowledgements come in batches.
            held = _Held(message, self._link.generation, self._now())
            self._queue.put(held, timeout=HOLD_UP_S)
        except queue.Full:
            # Not acknowledged, so nothing is lost: the cell sends it again.
            LOGGER.warning("queue full, left a message to be sent again")

    def run(self) -> None:
        """Take batches until told to stop; a batch that was begun is finished or left unacked."""
        while not self._stopping.is_set():
            batch = self._collect()
            self._metrics.connected.labels(self._stream).set(self._link.is_connected)
            self._metrics.waiting.labels(self._stream).set(self._queue.qsize() + len(batch))
            if batch:
                self._take(batch)

    def stop(self) -> None:
        """Make `run` return after its batch."""
        self._stopping.set()

    def _collect(self) -> list[_Held]:
        try:
            batch = [self._queue.get(timeout=IDLE_WAIT_S)]
        except queue.Empty:
            return []
        deadline = time.monotonic() + self._settings.batch_ms / 1000
        while len(batch) < self._settings.batch_rows:
            patience = min(LULL_S, deadline - time.monotonic())
            try:
                batch.append(self._queue.get(timeout=patience) if patience > 0 else
                             self._queue.get_nowait())  # fmt: skip
            except queue.Empty:
                break
        return batch

    def _take(self, batch: Sequence[_Held]) -> None:
        arrivals = [arrival for held in batch if (arrival := self._read(held)) is not None]
        taken = self._commit(arrivals)
        if taken is None:
            return
        for cell, ack in acknowledgements(taken):
            self._link.publish(cell.topic(Channel.INGEST_ACK), ack.to_bytes())
        self._link.acknowledge((held.message, held.generation) for held in batch)
        refused = sum(isinstance(arrival, RefusedArrival) for arrival in taken)
        self._metrics.taken.labels(self._stream).inc(len(taken) - refused)
        self._metrics.refused.labels(self._stream).inc(refused)
        made = [arrival.event.created_at for arrival in taken if isinstance(arrival, RecordArrival)]
        if made:
            self._metrics.lag_s.observe(max(0.0, (self._now() - min(made)).total_seconds()))

    def _read(self, held: _Held) -> Arrival | None:
        message = held.message
        properties = getattr(message.properties, "UserProperty", ())
        delivery = Delivery(
            message.topic, bytes(message.payload), tuple(properties), held.received_at
        )
        return read_delivery(delivery, max_pixels=self._settings.max_image_pixels)

    def _commit(self, arrivals: Sequence[Arrival]) -> list[Arrival] | None:
        """Commit, however long the database or the storage is away; None when told to stop."""
        delay_s = FIRST_RETRY_S
        while not self._stopping.is_set():
            try:
                with self._metrics.commit_s.labels(self._stream).time():
                    return self._store.write(arrivals)
            except UnavailableError as error:
                if delay_s == FIRST_RETRY_S:
                    LOGGER.warning(
                        "cannot commit, trying until it works",
                        extra={"stream": str(self._stream), "cause": str(error)},
                    )
                self._metrics.retries.labels(self._stream).inc()
            self._stopping.wait(delay_s)
            delay_s = min(2 * delay_s, RETRY_CAP_S)
        return None


class Ingest:
    """The ingest process: two consumers and their threads."""

    def __init__(
        self,
        broker: BrokerSettings,
        settings: IngestSettings,
        store: IngestStore,
        *,
        name: str,
        registry: CollectorRegistry,
    ) -> None:
        """Prepare everything; ``name`` tells processes of one group apart.

        Raises:
            ConfigurationError: the broker's settings cannot be used.
        """
        self._name = name
        metrics = IngestMetrics(registry)
        self._links: list[BrokerLink] = []
        self._consumers: list[Consumer] = []
        self._threads: list[threading.Thread] = []
        self._failure: BaseException | None = None
        # A group for each stream: iotcore deals a group's messages to all its members, whatever
        # each has subscribed to.
        group = settings.group
        plan = {
            Stream.RECORDS: (
                settings.queue_messages,
                [
                    every_cell(Channel.EVENT, group=f"{group}-records"),
                    every_cell(Channel.STATE),
                    every_cell(Channel.REPORTED),
                ],
            ),
            Stream.IMAGES: (
                settings.queue_images,
                [every_cell(Channel.IMAGE, group=f"{group}-images")],
            ),
        }
        for stream, (capacity, topics) in plan.items():
            link = BrokerLink(
                broker,
                f"sightline-{name}-{stream}",
                manual_ack=True,
                receive_maximum=capacity,
                session_expiry_s=settings.session_expiry_s,
            )
            for topic in topics:
                link.subscribe(topic)
            consumer = Consumer(
                stream, link, store, settings=settings, metrics=metrics, capacity=capacity
            )
            self._links.append(link)
            self._consumers.append(consumer)
            self._threads.append(
                threading.Thread(
                    target=self._guard, args=(consumer,), name=f"{name}-{stream}-writer"
                )
            )

    def _guard(self, consumer: Consumer) -> None:
        try:
            consumer.run()
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which ends
            self._failure = error

    def start(self) -> None:
        """Connect and begin to write, in the background."""
        for thread in self._threads:
            thread.start()
        for link in self._links:
            link.start()

    @property
    def is_connected(self) -> bool:
        """Whether both streams have the broker."""
        return all(link.is_connected for link in self._links)

    def check(self) -> None:
        """Make sure that everything still runs.

        Raises:
            ConfigurationError: another process uses this one's name.
            CloudError: a writer ended; the process should end and be started again.
        """
        if any(link.taken_over.is_set() for link in self._links):
            raise ConfigurationError(
                f"another ingest connects as {self._name}: give each its own --name"
            )
        if self._failure is not None:
            raise CloudError(f"a writer ended: {self._failure!r}") from self._failure

    def stop(self) -> None:
        """Finish what was begun and disconnect."""
        for consumer in self._consumers:
            consumer.stop()
        for thread in self._threads:
            thread.join(10.0)
        for link in self._links:
            link.stop()


def run_until(ingest: Ingest, stopping: threading.Event) -> None:
    """Run until told to stop.

    Raises:
        CloudError: see `Ingest.check`.
    """
    ingest.start()
    try:
        while not stopping.wait(0.5):
            ingest.check()
    finally:
        ingest.stop()

"""One stream from the broker to the store: read on the network thread, written on another."""

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from cloud.arrivals import (
    Arrival,
    Delivery,
    RecordArrival,
    RefusedArrival,
    acknowledgements,
    read_delivery,
)
from cloud.backlog import Backlog
from cloud.broker import BrokerLink
from cloud.errors import UnavailableError
from cloud.ingest_metrics import IngestMetrics
from cloud.ingest_store import IngestStore
from cloud.mqtt_client import Publication
from cloud.settings import IngestSettings
from models.contract.messages import Stream
from models.contract.topics import Channel

LOGGER = logging.getLogger(__name__)
IDLE_WAIT_S = 0.25
# When nothing followed for this long, a fuller batch is not worth the wait.
LULL_S = 0.005
HOLD_UP_S = 2.0
"""Longer than a batch takes, shorter than what the broker takes for a dead client."""
FIRST_RETRY_S = 0.2
RETRY_CAP_S = 5.0


class _Held(NamedTuple):
    arrival: Arrival | None
    packet_id: int
    generation: int


class Consumer:
    """One stream: the writer thread runs `run`.

    Messages are read and checked on the network thread: that goes on while the writer waits for
    the database or the disk.
    """

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
        self._backlog: Backlog[_Held] = Backlog(2 * capacity)
        self._stopping = threading.Event()
        link.on_publications = self._on_publications

    def _on_publications(self, publications: Sequence[Publication]) -> None:
        generation, now = self._link.generation, self._now()
        held = [
            _Held(self._read(publication, now), publication.packet_id, generation)
            for publication in publications
        ]
        # Holding up the network thread holds up the broker: mosquitto 2.0 sends beyond the
        # receive maximum once acknowledgements come in batches.
        if not self._backlog.put(held, timeout_s=HOLD_UP_S):
            # Not acknowledged, so nothing is lost: the cell sends them again.
            LOGGER.warning("queue full, left messages to be sent again", extra={"num": len(held)})

    def _read(self, publication: Publication, now: datetime) -> Arrival | None:
        delivery = Delivery(publication.topic, publication.payload, publication.properties, now)
        return read_delivery(delivery, max_pixels=self._settings.max_image_pixels)

    def run(self) -> None:
        """Take batches until told to stop; a batch that was begun is finished or left unacked."""
        while not self._stopping.is_set():
            batch = self._backlog.take(
                self._settings.batch_rows,
                idle_s=IDLE_WAIT_S,
                lull_s=LULL_S,
                wait_s=self._settings.batch_ms / 1000,
            )
            self._metrics.connected.labels(self._stream).set(self._link.is_connected)
            self._metrics.waiting.labels(self._stream).set(len(self._backlog) + len(batch))
            if batch:
                self._take(batch)

    def stop(self) -> None:
        """Make `run` return after its batch."""
        self._stopping.set()

    def _take(self, batch: Sequence[_Held]) -> None:
        taken = self._commit([held.arrival for held in batch if held.arrival is not None])
        if taken is None:
            return
        for cell, ack in acknowledgements(taken):
            self._link.publish(cell.topic(Channel.INGEST_ACK), ack.to_bytes())
        current = self._link.generation
        self._link.acknowledge(
            [held.packet_id for held in batch if held.packet_id and held.generation == current]
        )
        refused = sum(isinstance(arrival, RefusedArrival) for arrival in taken)
        self._metrics.taken.labels(self._stream).inc(len(taken) - refused)
        self._metrics.refused.labels(self._stream).inc(refused)
        made = [arrival.event.created_at for arrival in taken if isinstance(arrival, RecordArrival)]
        if made:
            self._metrics.lag_s.observe(max(0.0, (self._now() - min(made)).total_seconds()))

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

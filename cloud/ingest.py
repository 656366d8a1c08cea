"""From the broker into the database: commit first, then acknowledge.

A cell keeps every record until an `IngestAck` names it, and that is sent only after the commit;
the broker's own acknowledgement says nothing about durability. So any process on the way may die
at any moment: the cell sends again, and the unique key makes the second time harmless.

Records and pictures have a connection and a writer each, so that slow or full picture storage
never holds up verdicts. The broker's receive maximum bounds what is held in memory.
"""

import threading

from prometheus_client import CollectorRegistry

from cloud.broker import BrokerLink
from cloud.consumer import Consumer
from cloud.errors import CloudError, ConfigurationError
from cloud.garbage import RareCollection
from cloud.ingest_metrics import IngestMetrics
from cloud.ingest_store import IngestStore
from cloud.settings import BrokerSettings, IngestSettings
from models.contract.messages import Stream
from models.contract.topics import Channel, every_cell


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
        self._garbage = RareCollection()
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
        self._garbage.start()
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
        self._garbage.stop()


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

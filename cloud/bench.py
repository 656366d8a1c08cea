"""How fast results get from the broker into the database, beside a subscriber that only counts."""

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID, uuid4

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from prometheus_client import CollectorRegistry

from cloud.db.migration import migrate
from cloud.db.session import Database
from cloud.errors import UnavailableError
from cloud.image_store import ImageStore
from cloud.ingest import Ingest
from cloud.ingest_store import IngestStore
from cloud.settings import BrokerSettings, IngestSettings
from models.contract.bundle import ModelRef
from models.contract.messages import (
    DetectionRecord,
    Event,
    Inspection,
    Stream,
    Verdict,
)
from models.contract.topics import CellAddress, Channel

CELL = CellAddress("bench", "bench", "bench", "bench")
RESULT = uuid4()
TIMEOUT_S = 120.0
MAX_INFLIGHT = 1_000


@dataclass(frozen=True, slots=True)
class BenchReport:
    """Results a second, from the first message to the last."""

    rows: int
    backend: str
    ingest_per_s: float
    bare_subscriber_per_s: float

    @property
    def ratio(self) -> float:
        """Share of the bare subscriber's rate that ingest reaches."""
        return self.ingest_per_s / self.bare_subscriber_per_s

    def to_json(self) -> dict[str, object]:
        """For ``--json``."""
        return asdict(self) | {"ratio": self.ratio}


def measure_ingest(broker: BrokerSettings, *, rows: int, database_url: str | None) -> BenchReport:
    """Publish ``rows`` results of a made-up cell and time them, twice.

    Args:
        broker: A broker with room for a burst; nothing else should use it.
        rows: How many results.
        database_url: An empty database of its own; a SQLite file that is removed afterwards when
            not given.

    Raises:
        UnavailableError: the broker does not answer, or the results do not come through.
    """
    bare_s = _time_bare(broker, rows)
    with TemporaryDirectory(prefix="sightline-bench-") as folder:
        url = database_url or f"sqlite:///{folder}/bench.db"
        with closing(Database(url)) as database:
            migrate(database)
            ingest_s = _time_ingest(broker, rows, database, Path(folder))
            backend = database.backend
    return BenchReport(rows, backend, rows / ingest_s, rows / bare_s)


def _time_bare(broker: BrokerSettings, rows: int) -> float:
    num_seen, first_at, last_at = 0, 0.0, 0.0

    def count(_client: mqtt.Client, _data: object, _message: mqtt.MQTTMessage) -> None:
        nonlocal num_seen, first_at, last_at
        last_at = time.monotonic()
        first_at = first_at or last_at
        num_seen += 1

    subscribed = threading.Event()
    client = _plain_client(broker)
    client.on_message = count
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect(broker.host, broker.port)
    client.subscribe(CELL.topic(Channel.EVENT), qos=1)
    client.loop_start()
    try:
        if not subscribed.wait(TIMEOUT_S):
            raise UnavailableError("the broker does not answer")
        with _publishing(broker, rows):
            _wait(lambda: num_seen >= rows, "not all messages came back from the broker")
    finally:
        client.disconnect()
        client.loop_stop()
    return last_at - first_at


def _plain_client(broker: BrokerSettings) -> mqtt.Client:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.max_inflight_messages_set(MAX_INFLIGHT)
    if broker.username is not None:
        password = broker.password.get_secret_value() if broker.password else None
        client.username_pw_set(broker.username, password)
    return client


def _time_ingest(broker: BrokerSettings, rows: int, database: Database, folder: Path) -> float:
    registry = CollectorRegistry()
    settings = IngestSettings(group=f"bench{uuid4().hex[:8]}", session_expiry_s=0)
    store = IngestStore(database, ImageStore(str(folder / "images")))
    name = f"bench-{uuid4().hex[:8]}"
    ingest = Ingest(broker, settings, store, name=name, registry=registry)

    def num_taken() -> float:
        labels = {"stream": str(Stream.RECORDS)}
        return registry.get_sample_value("sightline_ingest_taken_total", labels) or 0.0

    ingest.start()
    try:
        _wait(lambda: ingest.is_connected, "the broker does not answer")
        with _publishing(broker, rows):
            _wait(lambda: num_taken() > 0, "no result arrived")
            started, before = time.monotonic(), num_taken()
            # Seldom: asking takes the time of ten results.
            _wait(lambda: num_taken() >= rows, "not all results were committed", every_s=0.02)
            return (time.monotonic() - started) * rows / max(1.0, rows - before)
    finally:
        ingest.stop()


@contextmanager
def _publishing(broker: BrokerSettings, rows: int) -> Iterator[None]:
    # In a process of its own: two Python threads would share one core.
    process = multiprocessing.get_context("spawn").Process(
        target=publish_results, args=(broker, rows), name="bench-publisher", daemon=True
    )
    process.start()
    try:
        yield
    finally:
        process.join(10.0)
        if process.is_alive():
            process.kill()
            process.join()


def publish_results(
    broker: BrokerSettings, rows: int, per_second: float | None = None, num_cells: int = 1
) -> None:
    """Send ``rows`` different results of made-up cells, at a pace or as fast as they go."""
    client = _plain_client(broker)
    client.connect(broker.host, broker.port)
    client.loop_start()
    sources = [_Source(number) for number in range(num_cells)]
    last, started = None, time.monotonic()
    for number in range(rows):
        topic, payload = sources[number % num_cells].next()
        last = client.publish(topic, payload, qos=1)
        if per_second is not None:
            time.sleep(max(0.0, started + number / per_second - time.monotonic()))
    if last is not None:
        last.wait_for_publish(TIMEOUT_S)
    client.disconnect()
    client.loop_stop()


class _Source:
    """Results of one cell; all but identity and time is written once, so that sending is cheap."""

    def __init__(self, number: int) -> None:
        cell = replace(CELL, cell=f"cell{number}") if number else CELL
        self._boot_id, self._seq = uuid4(), 0
        self._topic = cell.topic(Channel.EVENT)
        event = _result(cell, self._boot_id, 1)
        text = event.to_bytes().decode()
        for value, mark in (
            (str(RESULT), "@result"),
            (event.created_at.isoformat().replace("+00:00", "Z"), "@time"),
        ):
            text = text.replace(value, mark)
        self._text = text.replace('"seq":1,', '"seq":@seq,').replace("serial", "@part")

    def next(self) -> tuple[str, bytes]:
        self._seq += 1
        text = self._text
        for mark, value in (
            ("@result", str(UUID(int=self._boot_id.int ^ self._seq))),
            ("@time", datetime.now(UTC).isoformat().replace("+00:00", "Z")),
            ("@seq", str(self._seq)),
            ("@part", f"{self._boot_id.hex[:6]}{self._seq}"),
        ):
            text = text.replace(mark, value)
        return self._topic, text.encode()


def _result(cell: CellAddress, boot_id: UUID, seq: int) -> Event:
    boxes = tuple(
        DetectionRecord(category="bolt", score=0.9, bbox=(10.0 * place, 20.0, 30.0, 30.0))
        for place in range(6)
    )
    body = Inspection(
        result_id=RESULT,
        job_id=uuid4(),
        trigger_id="T1",
        part_id="serial",
        verdict=Verdict.OK,
        detections=boxes,
        recipe_id="bench",
        recipe_version=1,
        model=ModelRef(release=1, bundle_id="0" * 16, name="bench"),
        processing_ms=12.0,
    )
    return Event(cell=str(cell), boot_id=boot_id, seq=seq, created_at=datetime.now(UTC), body=body)


def _wait(done: Callable[[], bool], complaint: str, *, every_s: float = 0.005) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not done():
        if time.monotonic() > deadline:
            raise UnavailableError(complaint)
        time.sleep(every_s)

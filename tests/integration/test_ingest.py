"""From a cell's outbox through a real broker into a real database, whatever dies on the way."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID, uuid4

import cv2
import numpy as np
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from sqlalchemy import func, select

from cloud.db.migration import migrate
from cloud.db.session import Database
from cloud.db.tables import Cell, DeadLetter, Finding, Image, Result, ReviewStatus, Truth
from cloud.db.types import Base
from cloud.image_store import ImageStore
from models.contract.messages import (
    Connection,
    Event,
    ImageHeader,
    IngestAck,
    Inspection,
    Reason,
    ReasonCode,
    StationStatus,
    Stream,
    Verdict,
)
from models.contract.messages import (
    Truth as TruthBody,
)
from models.contract.topics import CellAddress, Channel

CELL = CellAddress("plant", "assembly", "line1", "cell1")
RESEND_S = 1.5
TIMEOUT_S = 60.0  # without any progress; a loaded machine starts a process in 10 s
Start = Callable[[], subprocess.Popen[bytes]]


class Broker(Protocol):
    port: int

    def start(self) -> None: ...

    def kill(self) -> None: ...


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/cloud.db"
    else:
        url = request.getfixturevalue("postgresql_url")
    database = Database(url)
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def config(database: Database, tmp_path: Path, broker: Broker) -> Path:
    url = database.url.render_as_string(hide_password=False)
    path = tmp_path / "cloud.toml"
    path.write_text(
        f'[database]\nurl = "{url}"\n[storage]\nurl = "images"\nmin_free_bytes = 0\n'
        f"[broker]\nport = {broker.port}\nreconnect_cap_s = 0.3\n"
    )
    return path


@pytest.fixture
def start_ingest(config: Path) -> Iterator[Start]:
    processes: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "cloud.cli", "ingest", "-c", str(config), "--name", "one"]
        processes.append(subprocess.Popen(command))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


class OutboxCell:
    """Sends what it has over and over until the cloud acknowledges it, as an edge agent does."""

    def __init__(self, port: int) -> None:
        self.boot_id = uuid4()
        self.acked: dict[Stream, set[int]] = {Stream.RECORDS: set(), Stream.IMAGES: set()}
        self.refused: dict[int, str] = {}
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *_: client.subscribe(
            CELL.topic(Channel.INGEST_ACK), qos=1
        )
        self._client.max_inflight_messages_set(1000)
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        ack = IngestAck.from_bytes(bytes(message.payload))
        if ack.boot_id == self.boot_id:
            self.acked[ack.stream].update(ack.seqs)
            self.refused.update({refusal.seq: refusal.cause for refusal in ack.refused})

    def event(self, seq: int, body: Inspection | TruthBody | None = None) -> bytes:
        return Event(
            cell=str(CELL),
            boot_id=self.boot_id,
            seq=seq,
            created_at=datetime.now(UTC),
            body=body or inspection(seq),
        ).to_bytes()

    def send(
        self, payload: bytes, channel: Channel = Channel.EVENT, properties: Properties | None = None
    ) -> None:
        self._client.publish(CELL.topic(channel), payload, qos=1, properties=properties)

    def send_image(self, seq: int, content: bytes, **changes: object) -> ImageHeader:
        fields: dict[str, Any] = {
            "cell": str(CELL),
            "boot_id": self.boot_id,
            "seq": seq,
            "created_at": datetime.now(UTC),
            "result_id": UUID(int=seq),
            "part_id": f"P{seq}",
            "sha256": hashlib.sha256(content).hexdigest(),
            "width_px": 64,
            "height_px": 48,
            "hard_reasons": ("uncertain", "audit"),
        } | changes
        header = ImageHeader(**fields)
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.UserProperty = header.to_user_properties()
        self.send(content, Channel.IMAGE, properties)
        return header

    def drain(self, payloads: dict[int, bytes]) -> None:
        """Resend what is not acknowledged until everything is."""
        deadline, before = time.monotonic() + TIMEOUT_S, len(payloads)
        while missing := payloads.keys() - self.acked[Stream.RECORDS] - self.refused.keys():
            if len(missing) < before:
                deadline, before = time.monotonic() + TIMEOUT_S, len(missing)
            assert time.monotonic() < deadline, f"{len(missing)} records never acknowledged"
            for seq in sorted(missing):
                self.send(payloads[seq])
            pause = time.monotonic() + RESEND_S
            while time.monotonic() < pause and not missing <= self.acked[Stream.RECORDS]:
                time.sleep(0.01)


@pytest.fixture
def cell(broker: Broker) -> Iterator[OutboxCell]:
    cell = OutboxCell(broker.port)
    yield cell
    cell.close()


def inspection(seq: int) -> Inspection:
    is_ok = seq % 3 != 0
    reasons = () if is_ok else (Reason(code=ReasonCode.DEFECT, category="scratch"),)
    return Inspection(
        result_id=UUID(int=seq),
        job_id=uuid4(),
        trigger_id=f"T{seq}",
        part_id=f"P{seq}",
        verdict=Verdict.OK if is_ok else Verdict.NOT_OK,
        reasons=reasons,
        recipe_id="plate",
        recipe_version=1,
        processing_ms=12.5,
    )


def jpeg(seed: int = 0) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not done():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def count(database: Database, table: type[Base]) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_records_delivered_three_times_and_reordered_become_one_row_each(
    database: Database, cell: OutboxCell, start_ingest: Start
) -> None:
    start_ingest()
    payloads = {seq: cell.event(seq) for seq in range(1, 301)}
    cell.drain({1: payloads[1]})  # ingest is there from here on
    deliveries = [*payloads] * 3
    random.Random(7).shuffle(deliveries)  # noqa: S311 - a seed, not a secret
    for seq in deliveries:
        cell.send(payloads[seq])
    cell.drain(payloads)
    wait_until(lambda: cell.acked[Stream.RECORDS] == set(payloads))
    assert count(database, Result) == 300
    assert count(database, Finding) == 100
    with database.read() as session:
        assert session.scalars(select(Result.part_id).where(Result.seq == 5)).all() == ["P5"]
        assert session.get(Cell, str(CELL)) is not None


def test_ingest_killed_in_mid_stream_loses_and_duplicates_nothing(
    database: Database, cell: OutboxCell, start_ingest: Start
) -> None:
    payloads = {seq: cell.event(seq) for seq in range(1, 1201)}
    dice = random.Random(11)  # noqa: S311 - a seed, not a secret
    done = threading.Event()

    def kill_again_and_again() -> None:
        process = start_ingest()
        for _ in range(2):
            before = len(cell.acked[Stream.RECORDS])
            goal = min(before + dice.randrange(100, 300), len(payloads) - 1)
            while len(cell.acked[Stream.RECORDS]) < goal:
                time.sleep(0.005)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            process = start_ingest()
        done.set()

    killer = threading.Thread(target=kill_again_and_again, name="killer", daemon=True)
    killer.start()
    sent = list(payloads)
    for start in range(0, len(sent), 100):
        for seq in sent[start : start + 100]:
            cell.send(payloads[seq])
        time.sleep(0.05)
    cell.drain(payloads)
    killer.join(TIMEOUT_S)
    assert done.is_set()
    assert count(database, Result) == len(payloads)


def test_a_malformed_record_is_set_aside_refused_and_the_next_one_lands(
    database: Database, cell: OutboxCell, start_ingest: Start
) -> None:
    start_ingest()
    cell.drain({1: cell.event(1)})
    wrong = f'{{"boot_id": "{cell.boot_id}", "seq": 2, "cell": "{CELL}", "body": {{"kind": "x"}}}}'
    too_large = inspection(3).model_copy(update={"recipe_version": 2**80})
    cell.send(wrong.encode())
    cell.send(cell.event(3, too_large))
    cell.send(b"[" * 100_000)
    cell.send(cell.event(4).replace(b"cell1", b"other"))
    cell.drain({5: cell.event(5)})
    wait_until(lambda: set(cell.refused) >= {2, 3, 4})
    assert "other" in cell.refused[4]
    assert count(database, DeadLetter) == 4
    assert count(database, Result) == 2


def test_a_picture_is_stored_once_and_waits_for_review(
    database: Database, cell: OutboxCell, start_ingest: Start, tmp_path: Path
) -> None:
    start_ingest()
    content = jpeg()
    cell.drain({1: cell.event(1)})
    for _ in range(3):
        header = cell.send_image(1, content)
    cell.send_image(2, content[: len(content) // 2])
    cell.send_image(3, jpeg(1), sha256="0" * 64)
    wait_until(lambda: cell.acked[Stream.IMAGES] == {1} and set(cell.refused) == {2, 3})
    with database.read() as session:
        image = session.get_one(Image, header.sha256)
    assert (image.status, image.hard_reasons) == (ReviewStatus.PENDING, ["uncertain", "audit"])
    assert count(database, Image) == 1
    assert ImageStore(str(tmp_path / "images")).get(header.sha256) == content


def test_state_and_truth_of_a_cell_are_kept(
    database: Database, cell: OutboxCell, start_ingest: Start
) -> None:
    start_ingest()
    status = StationStatus(cell=str(CELL), connection=Connection.ONLINE, heartbeat=3)
    cell.send(status.to_bytes(), Channel.STATE)
    truth = TruthBody(part_id="P1", actual=Verdict.NOT_OK, said=Verdict.OK)
    cell.drain({1: cell.event(1, truth)})
    cell.send(status.to_bytes(), Channel.STATE)

    def heartbeat() -> int:
        with database.read() as session:
            row = session.get(Cell, str(CELL))
        return row.status["heartbeat"] if row is not None and row.status is not None else 0

    wait_until(lambda: heartbeat() == 3)
    assert count(database, Truth) == 1


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_ingest_comes_back_by_itself_after_the_broker_was_killed(
    database: Database, cell: OutboxCell, start_ingest: Start, broker: Broker
) -> None:
    process = start_ingest()
    cell.drain({1: cell.event(1)})
    for seq in (2, 3):
        broker.kill()
        broker.start()
        cell.drain({seq: cell.event(seq)})
    assert process.poll() is None
    assert count(database, Result) == 3


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_full_picture_disk_holds_back_pictures_but_not_records(
    database: Database, cell: OutboxCell, start_ingest: Start, config: Path
) -> None:
    config.write_text(config.read_text().replace("min_free_bytes = 0", f"min_free_bytes = {2**62}"))
    process = start_ingest()
    cell.drain({1: cell.event(1)})
    content = jpeg()
    cell.send_image(1, content)
    cell.drain({seq: cell.event(seq) for seq in range(2, 50)})
    assert (cell.acked[Stream.IMAGES], count(database, Image)) == (set(), 0)
    process.kill()
    process.wait()
    config.write_text(config.read_text().replace(f"{2**62}", "0"))
    start_ingest()
    wait_until(lambda: cell.acked[Stream.IMAGES] == {1})  # the broker kept what was not taken
    assert count(database, Image) == 1

"""Results from the broker to committed rows: beside a bare subscriber, shared by two, and late."""

import hashlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import cv2
import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from sqlalchemy import func, select, text

from cloud.bench import CELL, measure_ingest, publish_results
from cloud.db.count_tables import BootCount
from cloud.db.migration import migrate
from cloud.db.session import Database
from cloud.settings import BrokerSettings
from models.contract.messages import ImageHeader
from models.contract.topics import Channel

from .figures import say
from .servers import broker, cloud, new_database, postgresql, process

NUM_CELLS = 20
PICTURES_A_SECOND = 5
TIMEOUT_S = 300.0


def measure_ratio(folder: Path, *, rows: int, rounds: int) -> dict[str, Any]:
    """Rows a second of one process as a share of what a subscriber that only counts reaches."""
    found: dict[str, list[dict[str, object]]] = {"sqlite": [], "postgresql": []}
    with broker(folder) as port, postgresql(folder / "postgresql") as server:
        settings = BrokerSettings(port=port)
        for _ in range(rounds):
            for backend, runs in found.items():
                url = new_database(server, "ingest") if backend == "postgresql" else None
                report = measure_ingest(settings, rows=rows, database_url=url)
                runs.append(report.to_json())
                say(f"ratio: {backend} {report.ingest_per_s:,.0f}/s, {report.ratio:.2f}")
    top = {f"ingest_ratio_{backend}": _median(runs, "ratio") for backend, runs in found.items()}
    top |= {
        f"ingest_per_s_{backend}": _median(runs, "ingest_per_s") for backend, runs in found.items()
    }
    return {"top": {**top, "sizes": {"results": rows, "rounds": rounds}}, "runs": found}


def measure_sharing(folder: Path, *, rows: int, rounds: int) -> dict[str, Any]:
    """Rows a second of two processes over those of one, both from messages that wait."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    with broker(folder) as port, postgresql(folder / "postgresql") as server:
        for _ in range(rounds):
            for number, found in rates.items():
                url = new_database(server, "sharing")
                found.append(_rate(folder, port, url, rows=rows, num_processes=number))
                say(f"sharing: {number} process(es) {found[-1]:,.0f}/s")
    ratio = sorted(two / one for one, two in zip(rates[1], rates[2], strict=True))[rounds // 2]
    top = {"ingest_two_over_one": round(ratio, 2), "sizes": {"results": rows, "rounds": rounds}}
    return {"top": top, "rates_per_s": {str(number): found for number, found in rates.items()}}


def _rate(folder: Path, port: int, url: str, *, rows: int, num_processes: int) -> float:
    group = f"bench{uuid4().hex[:8]}"
    with closing(Database(url)) as database, ExitStack() as stack:
        migrate(database)
        config = _config(folder, port, url, group)
        pids = []
        for number in range(num_processes):
            command = cloud("ingest", "--config", str(config), "--name", f"{group}-{number}")
            pids.append(stack.enter_context(_ingest(command, folder / f"{group}-{number}.log")))
        # Every process has rows before the clock starts: importing Python counts for nothing.
        _publish(port, 200 * num_processes)
        _wait(lambda: _count(database) >= 200 * num_processes)
        before = _count(database)
        # Sending takes more of the cores than taking in does: so it is over before.
        with _standing_still(pids):
            _publish(port, rows)
        started = time.monotonic()
        _wait(lambda: _count(database) - before >= rows)
        seconds = time.monotonic() - started
    return rows / seconds


@contextmanager
def _standing_still(pids: Sequence[int]) -> Iterator[None]:
    """Processes that do nothing; the broker keeps what is theirs."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def measure_lag(folder: Path, *, per_second: int, seconds: int) -> dict[str, Any]:
    """From a result's making to its row being there, at a steady load with pictures beside it."""
    with (
        broker(folder) as port,
        postgresql(folder / "postgresql") as server,
        closing(Database(new_database(server, "lag"))) as database,
    ):
        migrate(database)
        url = database.url.render_as_string(hide_password=False)
        config = _config(folder, port, url, f"bench{uuid4().hex[:8]}")
        log = folder / f"{config.stem}-{uuid4().hex[:8]}.log"
        with _ingest(cloud("ingest", "--config", str(config)), log):
            _publish(port, 200)
            _wait(lambda: _count(database) >= 200)
            probe = _LagProbe(database)
            with probe, _pictures(port) as sent:
                publisher = _publisher(port, per_second * seconds, per_second)
                publisher.start()
                _wait(lambda: _count(database) >= 200 + per_second * seconds)
                publisher.join(TIMEOUT_S)
            lags = probe.lags()
            pictures = _scalar(database, "SELECT count(*) FROM images")
    return {
        "top": {
            "ingest_lag_p99_s": round(float(np.percentile(lags, 99)), 3),
            "sizes": {"results_per_s": per_second, "pictures_per_s": PICTURES_A_SECOND,
                      "seconds": seconds},
        },
        "lag_s": {"p50": round(float(np.percentile(lags, 50)), 3), "max": round(max(lags), 3)},
        "results": len(lags),
        "pictures": {"sent": sent(), "stored": pictures},
    }  # fmt: skip


class _LagProbe:
    """Notes when rows become visible; their own clock says when they were made."""

    def __init__(self, database: Database) -> None:
        self._database, self._done = database, threading.Event()
        self._lags: list[float] = []
        self._thread = threading.Thread(target=self._watch, name="lag-probe")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(TIMEOUT_S)

    def lags(self) -> list[float]:
        return self._lags

    def _watch(self) -> None:
        last = _scalar(self._database, "SELECT max(id) FROM results")
        query = text(
            "SELECT id, extract(epoch FROM clock_timestamp() - created_at) FROM results"
            " WHERE id > :last ORDER BY id"
        )
        while not self._done.wait(0.02):
            with self._database.read() as session:
                rows = session.execute(query, {"last": last}).all()
            for last, lag in rows:  # noqa: B007 - the last one is where the next look begins
                self._lags.append(float(lag))


@contextmanager
def _pictures(port: int) -> Iterator[Callable[[], int]]:
    """Pictures of the size of a real one, until the end."""
    done, num_sent = threading.Event(), 0

    def send() -> None:
        nonlocal num_sent
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        client.connect("127.0.0.1", port)
        client.loop_start()
        noise = np.random.default_rng(1).integers(0, 90, (480, 640, 3), dtype=np.uint8)
        plain, boot_id = cv2.imencode(".jpg", noise)[1].tobytes(), uuid4()
        while not done.wait(1 / PICTURES_A_SECOND):
            num_sent += 1
            content = plain + str(num_sent).encode()  # behind a JPEG's end anything may follow
            header = _header(boot_id, num_sent, content)
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.UserProperty = header.to_user_properties()
            client.publish(CELL.topic(Channel.IMAGE), content, qos=1, properties=properties)
        client.disconnect()
        client.loop_stop()

    thread = threading.Thread(target=send, name="pictures")
    thread.start()
    try:
        yield lambda: num_sent
    finally:
        done.set()
        thread.join(TIMEOUT_S)


def _header(boot_id: UUID, seq: int, content: bytes) -> ImageHeader:
    return ImageHeader(
        cell=str(CELL),
        boot_id=boot_id,
        seq=seq,
        created_at=datetime.now(UTC),
        result_id=uuid4(),
        part_id=f"P{seq}",
        sha256=hashlib.sha256(content).hexdigest(),
        width_px=640,
        height_px=480,
    )


@contextmanager
def _ingest(command: list[str], log: Path) -> Iterator[int]:
    """An ingest that has subscribed, its pid: what is published before goes nowhere."""
    with process(command, log) as running:
        _wait(lambda: log.read_text().count("connected to the broker") >= 2)
        time.sleep(0.5)
        yield running.pid


def _config(folder: Path, port: int, url: str, group: str) -> Path:
    path = folder / "ingest.toml"
    path.write_text(
        f'[database]\nurl = "{url}"\n[storage]\nurl = "images-{group}"\nmin_free_bytes = 0\n'
        # One that stands still must not be taken for dead.
        f"[broker]\nport = {port}\nkeep_alive_s = 300\n"
        f'[ingest]\ngroup = "{group}"\nsession_expiry_s = 0\n'
    )
    return path


def _publisher(port: int, rows: int, per_second: float | None = None) -> BaseProcess:
    return multiprocessing.get_context("spawn").Process(
        target=publish_results,
        args=(BrokerSettings(port=port), rows, per_second, NUM_CELLS),
        daemon=True,
    )


def _publish(port: int, rows: int) -> None:
    publish_results(BrokerSettings(port=port), rows, None, NUM_CELLS)


def _count(database: Database) -> int:
    with database.read() as session:
        return int(session.scalar(select(func.sum(BootCount.num_records))) or 0)


def _scalar(database: Database, statement: str) -> int:
    with database.read() as session:
        return int(session.scalar(text(statement)) or 0)


def _wait(done: Callable[[], bool]) -> None:
    until = time.monotonic() + TIMEOUT_S
    while not done():
        if time.monotonic() > until:
            raise SystemExit("not all results were committed")
        time.sleep(0.02)


def _median(runs: list[dict[str, Any]], key: str) -> float:
    return round(float(sorted(run[key] for run in runs)[len(runs) // 2]), 2)

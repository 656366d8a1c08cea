"""The agent as a process: started from a TOML file, killed, stopped, asked over HTTP."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import cv2
import httpx
import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from edge_agent.journal import VerdictJournal
from edge_agent.journal_file import JournalFile
from models.contract.bundle import (
    BundleManifest,
    Category,
    CategoryKind,
    GoldenDetection,
    GoldenPicture,
    bundle_id_of,
    hash_files,
)
from models.contract.messages import Connection, ReasonCode, Verdict
from models.contract.topics import CellAddress
from models.detector.anchors import default_anchors
from models.detector.postprocess import DETECTIONS, EMBEDDING, IMAGE
from models.detector.spec import DetectorSpec
from simulators.broker_link import BrokerAddress
from simulators.camera import SpoolCamera
from simulators.dataset import jpeg_bytes
from simulators.plc import Plc, PlcSettings
from simulators.ports import free_port

CELL = CellAddress("plant", "area", "line1", "cell1")
START_S = 30.0
GOOD, BAD = 200, 60
"""Grey values: the model of these tests sees a scratch wherever a picture is dark."""
RECIPE = """
recipe_id = "grey"
version = 4
part_type = "grey"
image_width_px = 64
image_height_px = 48
deadline_ms = 1000
[[views]]
expected = [{ name = "bolt", category = "bolt" }]
forbidden = [{ category = "scratch" }, { category = "torn_label" }]
"""


class Broker(Protocol):
    port: int


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that always finds a bolt, and a scratch that is the surer the darker it is."""
    folder = tmp_path_factory.mktemp("bundle")
    categories = (Category(name="bolt", kind=CategoryKind.OBJECT), Category(name="scratch"))
    spec = DetectorSpec(
        categories=("bolt", "scratch"),
        input_height=48,
        input_width=64,
        levels=(8,),
        anchors=default_anchors((8,)),
    )
    (folder / "spec.json").write_text(spec.model_dump_json())
    ov.save_model(_darkness_detector(), str(folder / "model.xml"), compress_to_fp16=False)
    (folder / "golden").mkdir()
    cv2.imwrite(str(folder / "golden/0.png"), np.full((48, 64, 3), 230, np.uint8))
    bolt = GoldenDetection(category="bolt", bbox=(10, 10, 20, 20), score=0.95)
    files = hash_files(folder)
    manifest = BundleManifest(
        bundle_id=bundle_id_of(files),
        name="grey",
        created_at=datetime.now(UTC),
        categories=categories,
        thresholds={"bolt": 0.5, "scratch": 0.5},
        files=files,
        golden=(GoldenPicture(file="golden/0.png", detections=(bolt,)),),
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return folder


def _darkness_detector() -> ov.Model:
    image = ops.parameter([1, 48, 64, 3], np.uint8, name=IMAGE)
    mean = ops.reduce_mean(ops.convert(image, "f32"), np.array([0, 1, 2, 3]), keep_dims=False)
    darkness = ops.reshape(
        ops.subtract(np.float32(1), ops.divide(mean, np.float32(255))), [1, 1], special_zero=False
    )
    bolt = ops.constant(np.array([[0, 0.95, 10, 10, 30, 30]], np.float32))
    scratch = ops.concat(
        [
            ops.constant(np.array([[1]], np.float32)),
            darkness,
            ops.constant(np.array([[20, 20, 40, 30]], np.float32)),
        ],
        1,
    )
    rows = ops.result(ops.concat([bolt, scratch], 0))
    rows.output(0).set_names({DETECTIONS})
    embedding = ops.result(ops.concat([darkness, darkness], 1))
    embedding.output(0).set_names({EMBEDDING})
    return ov.Model([rows, embedding], [image])


@dataclass
class Edge:
    """One installation of the agent; its process may come and go."""

    folder: Path
    spool: SpoolCamera
    http_port: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "edge_agent.cli", "run", "-c", str(self.config)]
        with (self.folder / "edge.log").open("ab") as log:
            process = subprocess.Popen(command, stderr=log, stdout=log)
        self.processes.append(process)
        return process

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait(10)

    @property
    def config(self) -> Path:
        return self.folder / "edge.toml"

    @property
    def log(self) -> str:
        return (self.folder / "edge.log").read_text()

    def recorded_parts(self) -> list[str]:
        path = self.folder / "data/outbox/outbox.sqlite3"
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            rows = database.execute("SELECT body FROM pending WHERE stream = 'records'").fetchall()
        bodies = [json.loads(row[0])["body"] for row in rows]
        return [body["part_id"] for body in bodies if body["kind"] == "inspection"]

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.http_port}{path}", timeout=10)

    def post(self, path: str, data: bytes) -> httpx.Response:
        headers = {"Content-Type": "image/jpeg"}
        url = f"http://127.0.0.1:{self.http_port}{path}"
        return httpx.post(url, content=data, headers=headers, timeout=10)


@pytest.fixture
def edge(broker: Broker, bundle: Path, tmp_path: Path) -> Iterator[Edge]:
    http_port = free_port()
    (tmp_path / "grey.toml").write_text(RECIPE)
    (tmp_path / "edge.toml").write_text(
        f"""
        [cell]
        site = "plant"
        area = "area"
        line = "line1"
        cell = "cell1"
        [camera]
        path = "spool"
        [model]
        bundle = "{bundle}"
        [recipe]
        path = "grey.toml"
        [broker]
        port = {broker.port}
        [uplink]
        port = {broker.port}
        [http]
        port = {http_port}
        """
    )
    edge = Edge(tmp_path, SpoolCamera(tmp_path / "spool"), http_port)
    yield edge
    edge.end()


@pytest.fixture
def plc(broker: Broker) -> Iterator[Plc]:
    # Generous: the tests of a busy machine are about what is answered, not about how fast.
    settings = PlcSettings("grey", deadline_ms=10_000, patience_s=15.0)
    plc = Plc(CELL, BrokerAddress("127.0.0.1", broker.port), settings)
    plc.start()
    yield plc
    plc.stop()


def picture(grey: int, seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(-4, 5, (48, 64, 3))
    return jpeg_bytes((noise + grey).astype(np.uint8))


def verdict_on(edge: Edge, plc: Plc, part_id: str, grey: int) -> Verdict | None:
    edge.spool.expose(part_id, picture(grey, hash(part_id) % 1000))
    result = plc.inspect(part_id).result
    return result.verdict if result else None


def wait_until(condition: Callable[[], bool], edge: Edge) -> None:
    end = time.monotonic() + START_S
    while not condition():
        assert time.monotonic() < end, edge.log
        time.sleep(0.02)


def test_agent_judges_records_answers_http_and_stops_in_good_order(edge: Edge, plc: Plc) -> None:
    process = edge.start()
    assert plc.wait_station_ready(START_S), edge.log

    verdicts = [verdict_on(edge, plc, f"p{i}", grey) for i, grey in enumerate([GOOD, BAD, GOOD])]

    assert verdicts == [Verdict.OK, Verdict.NOT_OK, Verdict.OK]
    answer = edge.post("/v1/inspect?part_id=over-http", picture(BAD, 9))
    assert (answer.status_code, answer.json()["verdict"]) == (200, "not_ok")
    assert edge.get("/readyz").status_code == edge.get("/healthz").status_code == 200
    assert 'sightline_verdicts_total{verdict="not_ok"} 2.0' in edge.get("/metrics").text

    process.send_signal(signal.SIGTERM)

    assert process.wait(15) == 0, edge.log
    wait_until(lambda: plc.status is not None and plc.status.connection is Connection.STOPPED, edge)
    assert edge.recorded_parts() == ["p0", "p1", "p2", "over-http"]
    journal = VerdictJournal(JournalFile(edge.folder / "data/verdicts.journal"))
    assert [entry.is_recorded for entry in journal.entries] == [True] * 4
    journal.close()
    assert "Traceback" not in edge.log


def test_killed_agent_is_announced_lost_comes_back_and_loses_nothing(edge: Edge, plc: Plc) -> None:
    process = edge.start()
    assert plc.wait_station_ready(START_S), edge.log
    assert plc.status is not None
    first_boot = plc.status.boot_id
    parts = [f"p{number}" for number in range(5)]
    for part_id in parts:
        verdict_on(edge, plc, part_id, GOOD)

    process.kill()  # at once after the last verdict
    process.wait(10)

    wait_until(lambda: plc.status is not None and plc.status.connection is Connection.OFFLINE, edge)
    edge.start()
    assert plc.wait_station_ready(10), edge.log
    assert plc.status.boot_id != first_boot
    assert verdict_on(edge, plc, "after", BAD) is Verdict.NOT_OK
    wait_until(lambda: edge.recorded_parts() == [*parts, "after"], edge)


def test_agent_takes_no_picture_of_another_part(edge: Edge, plc: Plc) -> None:
    edge.start()
    assert plc.wait_station_ready(START_S), edge.log
    edge.spool.expose("other", picture(GOOD, 1))

    result = plc.inspect("mine").result

    assert result is not None
    assert result.verdict is Verdict.NOT_DECIDABLE
    assert result.reasons[0].code is ReasonCode.NO_FRAME


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param('path = "grey.toml"', 'path = "nowhere.toml"', "nowhere.toml", id="no recipe"),
        pytest.param("[http]", "[htpp]", "htpp", id="a misspelt section"),
        pytest.param('bundle = "', 'bundle = "/nowhere', "not a model bundle", id="no bundle"),
    ],
)
def test_start_that_cannot_succeed_ends_with_one_line(
    edge: Edge, old: str, new: str, said: str
) -> None:
    edge.config.write_text(edge.config.read_text().replace(old, new))
    for command in ("run", "check-config"):
        done = subprocess.run(
            [sys.executable, "-m", "edge_agent.cli", command, "-c", str(edge.config)],
            capture_output=True,
            text=True,
            check=False,
            timeout=START_S,
            env={**os.environ, "COLUMNS": "200"},
        )
        assert done.returncode == 2
        assert said in done.stderr
        assert len([line for line in done.stderr.splitlines() if "sightline-edge:" in line]) == 1
        assert "Traceback" not in done.stderr


def test_infer_prints_what_the_model_finds(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "part.jpg"
    path.write_bytes(picture(BAD, 1))
    command = [sys.executable, "-m", "edge_agent.cli", "infer", "-b", str(bundle), str(path)]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [box["category"] for box in found["detections"]] == ["bolt", "scratch"]
    assert found["detections"][0]["bbox"] == [10, 10, 20, 20]


def test_bench_looks_at_ones_own_pictures_and_needs_two(bundle: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge_agent.cli", "bench", "-b", str(bundle), "--json"]
    command += ["--rounds", "1", "--cycles", "10", "--pictures", str(tmp_path)]
    (tmp_path / "0.jpg").write_bytes(picture(GOOD, 1))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"pictures in {tmp_path}: 1; give at least two" in done.stderr
    (tmp_path / "1.jpg").write_bytes(b"no picture")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "sightline-edge: 1.jpg: picture cannot be used: neither a JPEG nor a PNG" in done.stderr
    (tmp_path / "1.jpg").write_bytes(picture(BAD, 1))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["picture_px"] == [64, 48]
    assert found["cycle_over_infer_ratio"] > 0

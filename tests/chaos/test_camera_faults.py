"""Row 19: cameras die, hang and go blind under a real agent; a verdict by the deadline, then help.

The agent, the cameras and the broker are processes; the camera is killed and stopped by signal.
"""

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from edge_agent.adapters.aravis_library import AravisMissingError, aravis
from edge_agent.adapters.gvcp import PORT as GVCP_PORT
from edge_agent.adapters.gvcp import answers
from models.contract.messages import ReasonCode, Rejection, StationState, Verdict
from models.contract.topics import CellAddress
from simulators.broker_link import BrokerAddress
from simulators.chaos.stage import Stage
from simulators.handshake import Exchange
from simulators.plc import Plc, PlcSettings

CELL = CellAddress("plant", "area", "line1", "cell1")
BUNDLE = Path(__file__).parents[2] / "models/released/plate"
START_S = 120.0
DEADLINE_MS = 1500
"""Of a part; on a busy machine a picture and an inference take their time."""
NOTICE_S = 3.0
"""Loss to ERROR: a quarter of a second between two looks, a second until a stream is stale."""
RECONNECT_S = 5.0
RECIPE = """
recipe_id = "any"
version = 1
part_type = "any"
image_width_px = {width}
image_height_px = {height}
deadline_ms = {deadline_ms}
[[views]]
"""
EDGE = """
[cell]
site = "plant"
area = "area"
line = "line1"
cell = "cell1"
[model]
bundle = "{bundle}"
[recipe]
path = "any.toml"
[broker]
port = {port}
[uplink]
enabled = false
[http]
enabled = false
[camera]
{camera}
"""
# Grey noise; each line on standard input is the fault from then on.
MJPEG_SERVER = """
import sys
import numpy as np
from models.contract.messages import Verdict
from simulators.camera import CameraFault, MjpegCamera
from simulators.dataset import jpeg_bytes
from simulators.sources import SimulatedPart
from simulators.truth import TruePart


class Noise:
    def part(self, index):
        noise = np.random.default_rng(index).integers(60, 190, (96, 128, 3), np.uint8)
        return SimulatedPart(TruePart("p", "a/b/c/d", (), Verdict.OK), jpeg_bytes(noise))


camera = MjpegCamera(Noise(), port=int(sys.argv[1]), period_s=0.05)
camera.start()
for line in sys.stdin:
    camera.lens.fault = CameraFault(line.strip())
"""


class Broker(Protocol):
    port: int


@dataclass
class Line:
    """An agent with its camera, and a PLC that watches them."""

    folder: Path
    plc: Plc
    start_camera: Callable[[], subprocess.Popen[bytes]]
    camera: subprocess.Popen[bytes]
    agent: subprocess.Popen[bytes] | None = None
    num_parts: int = 0

    def start(self) -> None:
        with (self.folder / "edge.log").open("ab") as log:
            self.agent = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "edge_agent.cli",
                    "run",
                    "-c",
                    str(self.folder / "edge.toml"),
                ],
                stderr=log,
            )
        assert self.plc.wait_station_ready(START_S), self.log

    @property
    def log(self) -> str:
        return (self.folder / "edge.log").read_text()

    @property
    def state(self) -> StationState | None:
        return self.plc.status.station_state if self.plc.status else None

    @property
    def alarms(self) -> dict[str, str]:
        assert self.plc.status is not None
        return {alarm.code: alarm.cause for alarm in self.plc.status.alarms}

    def inspect(self) -> Exchange:
        self.num_parts += 1
        return self.plc.inspect(f"p{self.num_parts}")

    def seconds_until(self, state: StationState, limit_s: float) -> float:
        begin = time.monotonic()
        while self.state is not state:
            assert time.monotonic() - begin < limit_s, (state, self.plc.status, self.log)
            time.sleep(0.01)
        return time.monotonic() - begin

    def kill_camera(self) -> None:
        _end(self.camera)

    def revive_camera(self) -> None:
        self.camera = self.start_camera()

    def end(self) -> None:
        _end(self.camera)
        if self.agent is not None:
            _end(self.agent)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(10)
    if process.stdin is not None:
        process.stdin.close()


def verdict_of(exchange: Exchange) -> tuple[Verdict, ReasonCode | None]:
    assert exchange.result is not None, exchange
    reasons = exchange.result.reasons
    return exchange.result.verdict, reasons[0].code if reasons else None


def wait_for(condition: Callable[[], bool], limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def make_line(
    folder: Path,
    broker: Broker,
    start_camera: Callable[[], subprocess.Popen[bytes]],
    *,
    camera: str,
    size: tuple[int, int],
) -> Line:
    width, height = size
    recipe = RECIPE.format(width=width, height=height, deadline_ms=DEADLINE_MS)
    (folder / "any.toml").write_text(recipe)
    edge = EDGE.format(bundle=BUNDLE, port=broker.port, camera=camera)
    (folder / "edge.toml").write_text(edge)
    settings = PlcSettings("any", deadline_ms=DEADLINE_MS, patience_s=15.0)
    plc = Plc(CELL, BrokerAddress("127.0.0.1", broker.port), settings)
    plc.start()
    return Line(folder, plc, start_camera, start_camera())


@pytest.fixture
def mjpeg_line(broker: Broker, unused_port: int, tmp_path: Path) -> Iterator[Line]:
    def start_camera() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", MJPEG_SERVER, str(unused_port)], stdin=subprocess.PIPE
        )
        wait_for(lambda: _listens(unused_port))
        return process

    camera = f'kind = "opencv"\nsource = "http://127.0.0.1:{unused_port}/"'
    line = make_line(tmp_path, broker, start_camera, camera=camera, size=(128, 96))
    try:
        line.start()
        yield line
    finally:
        line.end()
        line.plc.stop()


@pytest.fixture
def gige_line(broker: Broker, tmp_path: Path) -> Iterator[Line]:
    program = "arv-fake-gv-camera-0.8"
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed: apt-get install aravis-tools")
    try:
        aravis()
    except AravisMissingError as error:
        pytest.skip(str(error))

    def start_camera() -> subprocess.Popen[bytes]:
        wait_for(_is_gvcp_free, 60.0)
        process = subprocess.Popen([program, "-i", "127.0.0.1"])
        wait_for(lambda: answers("127.0.0.1"))
        return process

    camera = 'kind = "aravis"\nsource = "127.0.0.1"'
    line = make_line(tmp_path, broker, start_camera, camera=camera, size=(512, 512))
    try:
        line.start()
        yield line
    finally:
        line.end()
        line.plc.stop()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_gvcp_free() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", GVCP_PORT))
        except OSError:
            return False
        return True


@dataclass
class Figures:
    """Longest times of several faults."""

    noticed_s: float = 0.0
    """From death to ERROR, while nothing happens."""
    back_s: float = 0.0
    """From life to READY."""

    def __str__(self) -> str:
        return f"ERROR after {self.noticed_s:.2f} s, Ready {self.back_s:.2f} s after return"


def kill_and_revive(line: Line, figures: Figures) -> None:
    line.kill_camera()
    noticed_s = line.seconds_until(StationState.ERROR, NOTICE_S)
    assert "camera" in line.alarms
    assert line.plc._trigger_once("nobody looks").rejection is Rejection.NOT_READY
    line.revive_camera()
    back_s = line.seconds_until(StationState.READY, RECONNECT_S)
    figures.noticed_s = max(figures.noticed_s, noticed_s)
    figures.back_s = max(figures.back_s, back_s)


def test_streams_death_and_silence_stop_the_station_until_the_stream_is_back(
    mjpeg_line: Line, chaos: Stage
) -> None:
    line, figures = mjpeg_line, Figures()
    assert verdict_of(line.inspect()) == (Verdict.OK, None)
    times = chaos.times(short=1, full=20)
    for _ in range(times):
        kill_and_revive(line, figures)
        assert verdict_of(line.inspect()) == (Verdict.OK, None)

    line.camera.send_signal(signal.SIGSTOP)  # the connection stays, nothing comes
    before = time.monotonic()
    verdict = verdict_of(line.inspect())
    answered_s = time.monotonic() - before
    assert verdict[0] is Verdict.NOT_DECIDABLE
    assert verdict[1] in {ReasonCode.NO_FRAME, ReasonCode.CAMERA_FAULT}
    assert answered_s < DEADLINE_MS / 1000 + 0.5
    line.seconds_until(StationState.ERROR, NOTICE_S)
    line.camera.send_signal(signal.SIGCONT)
    line.seconds_until(StationState.READY, RECONNECT_S)
    assert verdict_of(line.inspect()) == (Verdict.OK, None)
    chaos.row(19, "camera stream killed, then silent", times + 1, "I3 I6", str(figures))


def test_blind_camera_gives_no_verdict_and_an_alarm_that_says_what_to_do(
    mjpeg_line: Line, chaos: Stage
) -> None:
    line = mjpeg_line
    assert verdict_of(line.inspect()) == (Verdict.OK, None)
    for fault, code in (
        ("black", ReasonCode.BLACK),
        ("overexposed", ReasonCode.OVEREXPOSED),
    ):
        _break(line, fault)
        while (verdict := verdict_of(line.inspect())) == (Verdict.OK, None):
            assert line.num_parts < 200, "the camera never went blind"
        for _ in range(2):
            assert verdict == (Verdict.NOT_DECIDABLE, code)
            verdict = verdict_of(line.inspect())
        wait_for(lambda: "picture" in line.alarms)
        _break(line, "none")
        wait_for(lambda: verdict_of(line.inspect()) == (Verdict.OK, None))
        wait_for(lambda: "picture" not in line.alarms)
    _break(line, "frozen")
    codes: list[tuple[Verdict, ReasonCode | None]] = []
    while line.state is not StationState.ERROR and len(codes) < 20:
        exchange = line.inspect()
        if exchange.result is not None:
            codes.append(verdict_of(exchange))
        wait_for(lambda: line.state is not StationState.SINGLE_EXECUTION)
    assert codes[-1] == (Verdict.NOT_DECIDABLE, ReasonCode.FROZEN)
    assert codes.count((Verdict.NOT_DECIDABLE, ReasonCode.FROZEN)) >= 3
    _break(line, "none")
    line.seconds_until(StationState.READY, RECONNECT_S)
    wait_for(lambda: verdict_of(line.inspect()) == (Verdict.OK, None))

    chaos.row(19, "camera black, over-exposed, frozen", 3, "I3", f"{line.num_parts} parts")


def _break(line: Line, fault: str) -> None:
    assert line.camera.stdin is not None
    line.camera.stdin.write(f"{fault}\n".encode())
    line.camera.stdin.flush()


def test_gige_cameras_death_stops_the_station_until_it_is_back(
    gige_line: Line, chaos: Stage
) -> None:
    line, figures = gige_line, Figures()
    assert verdict_of(line.inspect())[0] is Verdict.OK
    times = chaos.times(short=1, full=20)
    for _ in range(times):
        kill_and_revive(line, figures)
        assert verdict_of(line.inspect())[0] is Verdict.OK
    line.camera.send_signal(signal.SIGSTOP)
    before = time.monotonic()
    exchange = line.inspect()
    assert time.monotonic() - before < DEADLINE_MS / 1000 + 0.5
    if exchange.result is not None:  # else the station had noticed already, and refused
        assert exchange.result.verdict is Verdict.NOT_DECIDABLE
    line.seconds_until(StationState.ERROR, NOTICE_S + 2.5)  # Aravis retries a command for 2.5 s
    line.camera.send_signal(signal.SIGCONT)
    line.seconds_until(StationState.READY, RECONNECT_S)
    chaos.row(19, "GigE Vision camera killed, then stopped", times + 1, "I3 I6", str(figures))

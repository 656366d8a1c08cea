"""A signed release comes onto a running line: real broker, TUF, OpenVINO and agent process."""

import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Protocol

import paho.mqtt.client as mqtt
import psutil
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from cloud.settings import TufSettings
from cloud.tuf_repository import TufRepository
from edge_agent.adapters.detector import Loading
from edge_agent.adapters.workshop import ModelWorkshop
from edge_agent.errors import UpdateError
from edge_agent.right_of_way import RightOfWay
from models.contract.bundle import ModelRef, read_manifest, target_path
from models.contract.messages import DesiredModel, ModelPhase, Reported, Verdict
from models.contract.topics import CellAddress, Channel
from simulators.broker_link import BrokerAddress
from simulators.chaos.toy_model import (
    GOOD_GREY,
    RECIPE,
    ToyFault,
    make_toy_bundle,
    toy_picture,
)
from simulators.handshake import Exchange
from simulators.plc import Plc, PlcSettings

CELL = CellAddress("plant", "hall", "line1", "cell1")
WAIT_S = 40.0


class Broker(Protocol):
    """The broker fixture, which conftest.py makes."""

    port: int


# --- the workshop ----------------------------------------------------------------------------


def test_good_bundle_passes_every_phase_and_fills_the_cache(tmp_path: Path) -> None:
    bundle = make_toy_bundle(tmp_path / "good")
    phases: list[ModelPhase] = []
    workshop = ModelWorkshop(Loading(cache_dir=tmp_path / "cache"))
    workshop.check(bundle, on_phase=phases.append)
    assert phases == [ModelPhase.COMPILING, ModelPhase.CHECKING]
    assert any((tmp_path / "cache").iterdir())


def test_check_beside_a_line_without_pauses_stands_still_for_its_parts(tmp_path: Path) -> None:
    bundle = make_toy_bundle(tmp_path / "good")
    way, stopping = RightOfWay(), threading.Event()
    states: list[str] = []
    others = {child.pid for child in psutil.Process().children()}

    def judge_parts() -> None:
        while not stopping.wait(0.01):
            way.take()
            states.extend(_states_of_children(but=others))
            way.release()

    line = threading.Thread(target=judge_parts)
    line.start()
    try:
        ModelWorkshop(Loading(), beside=way.beside).check(bundle, on_phase=lambda _phase: None)
    finally:
        stopping.set()
        line.join()
    assert states.count("T") > len(states) / 2, "stopped, as soon as the signal got there"


def _states_of_children(but: Collection[int]) -> list[str]:
    """Of the checking processes; Python's tracker of shared memory is none."""
    time.sleep(0.002)
    with suppress(psutil.Error, OSError):
        own = [
            child
            for child in psutil.Process().children()
            if child.pid not in but and not any("resource_tracker" in w for w in child.cmdline())
        ]
        stats = [Path(f"/proc/{child.pid}/stat").read_text() for child in own]
        return [stat.rsplit(")", 1)[1].split()[0] for stat in stats]
    return []


def test_bundle_that_answers_otherwise_than_recorded_is_refused(tmp_path: Path) -> None:
    bundle = make_toy_bundle(tmp_path / "forgetful", fault=ToyFault.FORGETFUL)
    with pytest.raises(UpdateError, match=r"golden check of grey failed: .*moved by \+0\.55"):
        ModelWorkshop(Loading()).check(bundle, on_phase=lambda _phase: None)


def test_model_that_brings_its_process_down_is_refused_by_the_way_it_died(
    tmp_path: Path,
) -> None:
    bundle = make_toy_bundle(tmp_path / "good")
    workshop = ModelWorkshop(Loading(), timeout_s=0.05)
    with pytest.raises(UpdateError, match="ended its checking process by signal 9"):
        workshop.check(bundle, on_phase=lambda _phase: None)


# --- a running line --------------------------------------------------------------------------


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing: a test's output is for its failures."""


@dataclass
class Plant:
    """A cell with its agent, its PLC, and a cloud that signs and wishes."""

    folder: Path
    repository: TufRepository
    client: mqtt.Client
    plc: Plc
    process: subprocess.Popen[bytes] | None = None
    reports: list[Reported] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def start_agent(self) -> None:
        command = [sys.executable, "-m", "edge_agent.cli", "run", "-c"]
        with (self.folder / "edge.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, str(self.folder / "edge.toml")], stdout=log, stderr=log
            )

    def end_agent(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(20)

    def run_line(self) -> None:
        """Inspect parts at about 20 Hz until told to stop."""
        while not self.stopping.wait(0.05):
            self.exchanges.append(self.plc.inspect(f"P{len(self.exchanges)}"))

    def publish(self, release: int, bundle: Path, *, shadow: int = 4, canary: int = 6) -> ModelRef:
        manifest = read_manifest(bundle)
        ref = ModelRef(release=release, bundle_id=manifest.bundle_id, name=manifest.name)
        archive = self.folder / f"r{release}.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(bundle, arcname=".")
        custom: dict[str, int | str] = {"release": release, "bundle_id": ref.bundle_id}
        self.repository.publish(target_path(ref.name, release), archive, custom)
        desired = DesiredModel(
            model=ref,
            rollout_id=f"R{release}",
            shadow_parts=shadow,
            canary_parts=canary,
            issued_at=datetime.now(UTC),
        )
        topic = CELL.topic(Channel.DESIRED_MODEL)
        self.client.publish(topic, desired.to_bytes(), qos=1, retain=True)
        return ref

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, (self.phases, self.log)
            time.sleep(0.02)

    def has_reported(self, phase: ModelPhase, release: int) -> bool:
        return any(
            report.phase is phase and report.desired and report.desired.release == release
            for report in list(self.reports)
        )

    def runs(self, release: int) -> bool:
        last = self.reports[-1] if self.reports else None
        return (
            last is not None
            and last.phase is ModelPhase.ACTIVE
            and last.model is not None
            and last.model.release == release
        )

    @property
    def phases(self) -> list[str]:
        return [
            f"{report.phase}:{report.model and report.model.release}" for report in self.reports
        ]

    @property
    def log(self) -> str:
        return (self.folder / "edge.log").read_text()


@pytest.fixture
def plant(broker: Broker, tmp_path: Path) -> Iterator[Plant]:
    settings = TufSettings(
        dir=tmp_path / "tuf",
        keys_dir=tmp_path / "keys",
        offline_keys_dir=tmp_path / "offline",
        root_file=tmp_path / "root.json",
    )
    repository = TufRepository(settings)
    repository.ensure()
    handler = partial(QuietHandler, directory=str(tmp_path / "tuf"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    write_installation(tmp_path, broker.port, server.server_port)
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="cloud", protocol=mqtt.MQTTv5)
    plc = Plc(CELL, BrokerAddress("127.0.0.1", broker.port), PlcSettings("grey"))
    plant = Plant(tmp_path, repository, client, plc)
    client.on_message = lambda _c, _d, message: plant.reports.append(
        Reported.from_bytes(bytes(message.payload))
    )
    client.on_connect = lambda c, *_: c.subscribe(CELL.topic(Channel.REPORTED), qos=1)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    plc.start()
    line = threading.Thread(target=plant.run_line)
    plant.start_agent()
    assert plc.wait_station_ready(WAIT_S), plant.log
    line.start()
    yield plant
    plant.stopping.set()
    line.join(10)
    plc.stop()
    client.disconnect()
    client.loop_stop()
    assert plant.process is not None
    with suppress(ProcessLookupError):
        plant.process.kill()
    plant.process.wait(10)
    server.shutdown()
    serving.join(5)
    server.server_close()


def write_installation(folder: Path, broker_port: int, http_port: int) -> None:
    make_toy_bundle(folder / "baseline")
    (folder / "pictures").mkdir()
    for number in range(7):
        (folder / f"pictures/{number}.jpg").write_bytes(toy_picture(GOOD_GREY, number))
    (folder / "grey.toml").write_text(RECIPE)
    (folder / "edge.toml").write_text(
        f"""
        [cell]
        site = "plant"
        area = "hall"
        line = "line1"
        cell = "cell1"
        [camera]
        path = "pictures"
        mode = "cycle"
        [model]
        bundle = "baseline"
        [recipe]
        path = "grey.toml"
        [broker]
        port = {broker_port}
        [uplink]
        port = {broker_port}
        [update]
        enabled = true
        base_url = "http://127.0.0.1:{http_port}"
        root = "root.json"
        [http]
        enabled = false
        """
    )


def test_release_is_taken_over_without_a_missed_part_and_survives_a_kill(
    plant: Plant, tmp_path: Path
) -> None:
    plant.wait_for(lambda: len(plant.exchanges) > 5)

    plant.publish(2, make_toy_bundle(tmp_path / "v2", "scratch", "torn_label"))
    plant.wait_for(lambda: plant.runs(2))

    num_parts = len(plant.exchanges)
    plant.wait_for(lambda: len(plant.exchanges) > num_parts + 5)
    results = [exchange.result for exchange in plant.exchanges]
    assert all(result and result.verdict is Verdict.OK for result in results), plant.log
    assert {result.model.release for result in results if result and result.model} == {0, 2}
    for phase in (ModelPhase.SHADOW, ModelPhase.CANARY):
        assert plant.has_reported(phase, 2), plant.phases

    plant.end_agent(signal.SIGKILL)
    plant.start_agent()
    plant.wait_for(lambda: plant.runs(2) and plant.plc.is_station_ready)


def test_release_that_is_blind_is_stopped_in_the_shadow_and_the_line_goes_on(
    plant: Plant, tmp_path: Path
) -> None:
    plant.publish(3, make_toy_bundle(tmp_path / "blind", fault=ToyFault.BLIND))
    plant.wait_for(lambda: plant.has_reported(ModelPhase.FAILED, 3))
    last = plant.reports[-1]
    assert last.model is not None
    assert last.model.release == 0
    assert "disagrees" in last.error
    num_parts = len(plant.exchanges)
    plant.wait_for(lambda: len(plant.exchanges) > num_parts + 3)
    assert {e.result.verdict for e in plant.exchanges if e.result} == {Verdict.OK}


def test_number_for_what_runs_already_needs_no_download(plant: Plant, tmp_path: Path) -> None:
    plant.publish(1, tmp_path / "baseline")
    plant.wait_for(lambda: plant.runs(1))
    assert not (tmp_path / "data/updates/downloads").exists() or not list(
        (tmp_path / "data/updates/downloads").iterdir()
    )
    assert plant.end_agent() == 0, plant.log
    assert "Traceback" not in plant.log

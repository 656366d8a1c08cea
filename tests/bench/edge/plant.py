"""A cell with real processes: brokers, the agent, a stand-in for the cloud, a simulated PLC."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2

from edge_agent.adapters.detector import Loading
from models.contract.topics import CellAddress
from simulators.broker_link import BrokerAddress
from simulators.dataset import DatasetPlan, render_indexed
from simulators.demo.workshop import to_toml
from simulators.handshake import Exchange
from simulators.plc import Plc, PlcSettings
from simulators.ports import free_port

from .figures import REPOSITORY

CELL = CellAddress("plant", "bench", "line1", "cell1")
BUNDLE = REPOSITORY / "models" / "released" / "plate"
RECIPE = REPOSITORY / "deploy" / "config" / "plate.recipe.toml"
RECIPE_ID = "plate-a"
NUM_PICTURES = 24
WAIT_S = 30.0
NUM_THREADS = 1
"""Of the inference, as the settings have it by default."""
ELSEWHERE = ("nice", "-n", "15")
"""What stands for another machine gets what the cell's own processes leave of this one."""


def mosquitto_program() -> str:
    """Path of mosquitto."""
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise SystemExit("mosquitto is not installed: apt-get install mosquitto")
    return found


def pictures(folder: Path) -> Path:
    """Rendered cover plates, most of them good, as the camera gives them."""
    if not folder.exists():
        making = folder.with_suffix(".part")
        making.mkdir(parents=True, exist_ok=True)
        plan = DatasetPlan(NUM_PICTURES, seed=77, variants=("a",), defect_rate=0.2)
        for index in range(NUM_PICTURES):
            cv2.imwrite(str(making / f"{index:03d}.png"), render_indexed(plan, index).image)
        making.rename(folder)
    return folder


@dataclass
class Process:
    """A process of the bench's own; its words go into a log."""

    name: str
    command: Sequence[str]
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    handle: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.handle = subprocess.Popen(
                list(self.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=REPOSITORY,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        assert self.handle is not None
        return self.handle.pid

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.handle is None:
            return
        with suppress(ProcessLookupError):
            self.handle.send_signal(number)
        try:
            self.handle.wait(20)
        except subprocess.TimeoutExpired:
            self.handle.kill()
            self.handle.wait(5)
        with suppress(ProcessLookupError):  # workers that outlive their server
            os.killpg(self.handle.pid, signal.SIGKILL)
        self.handle = None


class Broker(Process):
    """A mosquitto on a port of its own; it may come and go."""

    def __init__(self, name: str, folder: Path, *, prefix: Sequence[str] = ()) -> None:
        self.port = free_port()
        config = folder / f"{name}.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n"
            "max_queued_messages 100000\nmax_inflight_messages 1000\n"
            "max_packet_size 20000000\npersistence false\nlog_type error\n"
            + ("user root\n" if os.geteuid() == 0 else "")
        )
        super().__init__(name, [*prefix, mosquitto_program(), "-c", str(config)], folder)

    def start(self) -> None:
        super().start()
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise SystemExit(f"{self.name} does not listen on {self.port}")


class Plant:
    """One cell; build it, then use the parts that a measurement needs."""

    def __init__(self, folder: Path, *, settings: dict[str, dict[str, Any]] | None = None) -> None:
        shutil.rmtree(folder / "data", ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.cell_broker = Broker("cell-broker", folder)
        self.uplink_broker = Broker("uplink-broker", folder, prefix=ELSEWHERE)
        self.http_port = free_port()
        python = [sys.executable, "-m"]
        stand_in = [*ELSEWHERE, *python, "bench.edge.cloud_stand_in"]
        stand_in += [str(self.uplink_broker.port), str(CELL)]
        self.cloud = Process("cloud", stand_in, folder, {"PYTHONPATH": str(REPOSITORY / "tests")})
        self.config = folder / "edge.toml"
        self.config.write_text(to_toml(self._settings(settings or {})))
        command = [*python, "edge_agent.cli", "run", "--config", str(self.config)]
        self.agent = Process("agent", command, folder)
        address = BrokerAddress("127.0.0.1", self.cell_broker.port)
        self.plc = Plc(CELL, address, PlcSettings(RECIPE_ID, deadline_ms=None, patience_s=3.0))
        self._num_parts = 0

    def _settings(self, changes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        shots = pictures(self.folder.parent / "pictures")
        known: dict[str, dict[str, Any]] = {
            "cell": {"site": "plant", "area": "bench", "line": "line1", "cell": "cell1"},
            "camera": {"kind": "folder", "path": str(shots), "mode": "cycle"},
            "model": {"bundle": str(BUNDLE), "num_threads": NUM_THREADS},
            "recipe": {"path": str(RECIPE)},
            "broker": {"port": self.cell_broker.port},
            "uplink": {"port": self.uplink_broker.port, "reconnect_max_s": 1.0},
            "http": {"port": self.http_port},
            "hard_examples": {"seed": 5},
            "logging": {"format": "json"},
        }
        return {name: {**known.get(name, {}), **changes.get(name, {})} for name in known | changes}

    @contextmanager
    def running(self, *, with_cloud: bool = True) -> Iterator["Plant"]:
        """Brokers, cloud, agent and PLC; all of them end with the block."""
        try:
            self.cell_broker.start()
            if with_cloud:
                self.connect_cloud()
            self.agent.start()
            self.plc.start()
            if not self.plc.wait_station_ready(WAIT_S):
                raise SystemExit(f"the agent is not ready; see {self.folder}/agent.log")
            yield self
        finally:
            self.plc.stop()
            for process in (self.agent, self.cloud, self.uplink_broker, self.cell_broker):
                process.stop()

    def connect_cloud(self) -> None:
        """The uplink's broker, and somebody behind it who acknowledges."""
        self.uplink_broker.start()
        self.cloud.start()

    def cut_cloud(self) -> None:
        """Nobody answers at the uplink's address any more."""
        self.cloud.stop()
        self.uplink_broker.stop(signal.SIGKILL)

    def inspect_for(self, seconds: float, *, hz: float = 10.0) -> list[Exchange]:
        """Trigger at an even pace, whatever comes back."""
        end = time.monotonic() + seconds
        return list(self.inspect_while(lambda: time.monotonic() < end, hz=hz))

    def inspect_while(
        self, is_wanted: Callable[[], bool], *, hz: float = 10.0
    ) -> Iterator[Exchange]:
        """Trigger at an even pace; asks before each trigger whether it is wanted still.

        A line has no breaks: after one the cell would have to learn its pace anew.
        """
        due = time.monotonic()
        while is_wanted():
            time.sleep(max(due - time.monotonic(), 0))
            self._num_parts += 1
            yield self.plc.inspect(f"P{self._num_parts:06d}")
            due += 1 / hz


def latencies_ms(exchanges: Sequence[Exchange]) -> list[float]:
    """Trigger to verdict, of those that were inspected."""
    return [e.latency_ms for e in exchanges if e.latency_ms is not None]


def num_missed(exchanges: Sequence[Exchange]) -> int:
    """Triggers without an inspection: refused, unanswered or not decidable."""
    return sum(not (e.result and e.result.verdict in {"ok", "not_ok"}) for e in exchanges)


class BareModel:
    """The same model in a process of its own that does nothing else, timed beside the agent."""

    def __init__(self, folder: Path, loading: Loading | None = None) -> None:
        threads = (loading or Loading(NUM_THREADS)).num_threads
        command = [sys.executable, "-m", "bench.edge.bare", str(BUNDLE), str(folder), str(threads)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'tests'}"},
        )

    def time(self, count: int, *, hz: float, with_decoding: bool = False) -> list[float]:
        """Milliseconds of ``count`` inferences; ``hz`` 0: one after the other."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{count} {hz} {int(with_decoding)}\n".encode())
        process.stdin.flush()
        found: list[float] = json.loads(process.stdout.readline())
        return found

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)

    def __enter__(self) -> "BareModel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

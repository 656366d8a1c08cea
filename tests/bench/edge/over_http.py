"""``POST /v1/inspect`` beside decode + infer in a loop, and beside two model servers from PyPI."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2

from simulators.ports import free_port

from .figures import REPOSITORY, Effort, median, percentile, say, spread
from .plant import BUNDLE, NUM_THREADS, BareModel, Plant, Process, pictures
from .quiet import undisturbed

PEERS = Path(__file__).parent / "peers"
PEER_PACKAGES = ("litserve", "bentoml", "openvino==2026.4.1", "opencv-python-headless", "numpy")
OURS, OURS_FORM = "sightline", "sightline (form)"
LITSERVE, BENTOML = "litserve", "bentoml"
START_S = 60.0
NUM_CONNECTIONS = 4


@dataclass(frozen=True)
class Server:
    """Where a picture is sent, in the form that the server takes it in with the least effort."""

    port: int
    path: str
    takes_form: bool = False


class Client:
    """A sender in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.edge.http_client", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")},
        )

    def send(self, server: "Server", count: int, connections: int) -> tuple[list[float], float]:
        """Milliseconds of each request, and requests a second."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(
            f"{server.port} {server.path} {count} {connections} {int(server.takes_form)}\n".encode()
        )
        process.stdin.flush()
        answer = json.loads(process.stdout.readline() or '{"ms": [], "seconds": 1}')
        if len(answer["ms"]) < count // connections * connections:
            raise SystemExit(f"{server} did not answer every request")
        return answer["ms"], len(answer["ms"]) / answer["seconds"]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


@dataclass
class _Round:
    """What one round said: milliseconds of each request, by server."""

    loop_ms: list[float]
    one: dict[str, list[float]] = field(default_factory=dict)
    many: dict[str, list[float]] = field(default_factory=dict)
    per_s: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        told = [f"{n} {percentile(self.one[n], 50):.2f} ms {self.per_s[n]:.0f}/s" for n in self.one]
        return f"loop {percentile(self.loop_ms, 50):.2f} ms, {', '.join(told)}"


def measure(work: Path, effort: Effort) -> dict[str, Any]:
    """Each server in turns: one caller after the other, then several at once."""
    rounds, count = effort.rounds(2, 12), 60 if effort.is_quick else 200
    shots = _jpegs(work)
    plant = Plant(work / "http")
    found: list[_Round] = []
    foreign = []
    client = Client(shots)
    with BareModel(shots) as bare, ExitStack() as running:
        running.callback(client.close)
        running.enter_context(plant.running())
        servers = {
            OURS: Server(plant.http_port, "/v1/inspect"),
            OURS_FORM: Server(plant.http_port, "/v1/inspect", takes_form=True),
            **running.enter_context(_peers(work)),
        }
        for server in servers.values():
            client.send(server, 40, 2)

        def each() -> _Round:
            told = _Round(bare.time(count, hz=0, with_decoding=True))
            for name, server in servers.items():
                told.one[name], _ = client.send(server, count, 1)
                told.many[name], told.per_s[name] = client.send(server, count, NUM_CONNECTIONS)
            return told

        for turn in range(rounds):
            told, disturbance = undisturbed(each)
            found.append(told)
            foreign.append(disturbance)
            say(f"http {turn + 1}/{rounds}: {told}")
    one = {name: [told.one[name] for told in found] for name in servers}
    many = {name: [told.many[name] for told in found] for name in servers}
    rates = {name: [told.per_s[name] for told in found] for name in servers}
    loop_ms = [told.loop_ms for told in found]
    loops_per_s = [1000 * len(times) / sum(times) for times in loop_ms]
    ratios = [ours / loop for ours, loop in zip(rates[OURS], loops_per_s, strict=True)]
    return {
        "top": {
            "http_ratio": median(ratios),
            "http_peers": {
                name: {
                    "p50_ms": median([percentile(times, 50) for times in one[name]]),
                    "p99_ms": median([percentile(times, 99) for times in one[name]]),
                    "p50_ms_4_callers": median([percentile(times, 50) for times in many[name]]),
                    "p99_ms_4_callers": median([percentile(times, 99) for times in many[name]]),
                    "requests_per_s": median(rates[name], 1),
                }
                for name in servers
            },
        },
        "rounds": rounds,
        "requests_a_round": count,
        "decode_and_infer_loop_ms": spread([v for times in loop_ms for v in times]),
        "decode_and_infer_loop_per_s": median(loops_per_s, 1),
        "cores_used_by_others_by_round": foreign,
        "peer_versions": _peer_versions(work),
    }


@contextmanager
def _peers(work: Path) -> Iterator[dict[str, Server]]:
    python = _environment(work) / "bin" / "python"
    lit, bento = free_port(), free_port()
    environment = {"BENCH_BUNDLE": str(BUNDLE), "BENCH_THREADS": str(NUM_THREADS)}
    environment |= {"BENTOML_DO_NOT_TRACK": "1", "PYTHONPATH": str(PEERS)}
    bentoml = [str(python), "-m", "bentoml", "serve", "bento_service:Inspector"]
    bentoml += ["--host", "127.0.0.1", "--port", str(bento), "--working-dir", str(PEERS)]
    script = str(PEERS / "litserve_service.py")
    litserve = [str(python), script, str(BUNDLE), str(NUM_THREADS), str(lit)]
    started = [
        Process("litserve", litserve, work, environment),
        Process("bentoml", bentoml, work, environment),
    ]
    try:
        for process in started:
            process.start()
        for process, port, path in zip(started, (lit, bento), ("/health", "/readyz"), strict=True):
            _wait(port, path, process)
        yield {
            LITSERVE: Server(lit, "/inspect", takes_form=True),
            BENTOML: Server(bento, "/inspect"),
        }
    finally:
        for process in started:
            process.stop()


def _wait(port: int, path: str, process: Process) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            if answer.status == 200:
                return
        time.sleep(0.2)
    raise SystemExit(f"{process.name} is not ready; see {process.folder}/{process.name}.log")


def _environment(work: Path) -> Path:
    """The peers' own environment: nothing of it ever comes near the project's."""
    folder = work / "peers"
    if not (folder / ".ready").exists():
        say("installing LitServe and BentoML into the bench's own environment")
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *PEER_PACKAGES], check=True)
        (folder / ".ready").touch()
    return folder


def _peer_versions(work: Path) -> dict[str, str]:
    code = "from importlib.metadata import version as v; print(v('litserve'), v('bentoml'))"
    python = str(_environment(work) / "bin" / "python")
    said = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return dict(zip((LITSERVE, BENTOML), said.stdout.split(), strict=True))


def _jpegs(work: Path) -> Path:
    folder = work / "jpegs"
    folder.mkdir(exist_ok=True)
    for path in pictures(work / "pictures").glob("*.png"):
        target = folder / f"{path.stem}.jpg"
        if not target.exists():
            cv2.imwrite(str(target), cv2.imread(str(path)), [cv2.IMWRITE_JPEG_QUALITY, 92])
    return folder


SECTIONS: dict[str, Callable[..., dict[str, Any]]] = {"http": measure}

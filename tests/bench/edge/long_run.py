"""Start, memory and size: what an agent needs of a machine."""

import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np

from .figures import REPOSITORY, Effort, median, say
from .plant import WAIT_S, Plant, num_missed

SLICE_S = 5.0
SETTLED_SHARE = 0.4
"""The first part of a run fills rings and caches that have a size; the slope is of the rest."""


def measure_memory(work: Path, effort: Effort) -> dict[str, Any]:
    """Resident memory at rest, and over ten minutes at 10 Hz."""
    seconds = 60.0 if effort.is_quick else 600.0
    plant = Plant(work / "memory")
    with plant.running():
        time.sleep(3.0)
        at_rest = _rss_mb(plant.agent.pid)
        exchanges, at_s, rss_mb, files = [], [], [], []
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            exchanges += plant.inspect_for(SLICE_S)
            at_s.append(time.monotonic() - began)
            rss_mb.append(_rss_mb(plant.agent.pid))
            files.append(sum(1 for _ in Path(f"/proc/{plant.agent.pid}/fd").iterdir()))
        say(f"memory: {at_rest:.0f} MB at rest, {rss_mb[-1]:.0f} MB after {seconds:.0f} s")
    first = int(len(at_s) * SETTLED_SHARE)
    slope_mb_per_s = float(np.polyfit(at_s[first:], rss_mb[first:], 1)[0])
    slope = 100 * slope_mb_per_s * 3600 / rss_mb[first]
    return {
        "top": {"rss_mb": rss_mb[-1], "rss_slope_percent_per_h": round(slope, 3)},
        "rounds": 1,
        "rss_mb_at_rest": at_rest,
        "rss_mb_every_30_s": rss_mb[:: max(1, int(30 / SLICE_S))],
        "open_files_first_and_last": [files[first], files[-1]],
        "triggers": len(exchanges),
        "triggers_missed": num_missed(exchanges),
    }


def measure_start(work: Path, effort: Effort) -> dict[str, Any]:
    """From the process's start to READY=1, as a service manager is told, with a warm cache."""
    rounds = effort.rounds(3, 9)
    plant = Plant(work / "start")
    seconds = []
    try:
        plant.cell_broker.start()
        plant.connect_cloud()
        for turn in range(rounds + 1):
            seconds.append(_start_once(plant, work / "notify.sock"))
            say(f"start {turn}/{rounds}: {seconds[-1]:.2f} s" + ("" if turn else " (cold)"))
    finally:
        for process in (plant.agent, plant.cloud, plant.uplink_broker, plant.cell_broker):
            process.stop()
    return {
        "top": {"start_to_ready_s": median(seconds[1:])},
        "rounds": rounds,
        "seconds_cold_cache": round(seconds[0], 3),
        "seconds_by_round": [round(value, 3) for value in seconds[1:]],
    }


def measure_size(_work: Path, _effort: Effort) -> dict[str, Any]:
    """Bytes of the packages that a cell installs (deploy/requirements/edge.txt), and of us."""
    pins = (REPOSITORY / "deploy" / "requirements" / "edge.txt").read_text().splitlines()
    names = [line.split("==")[0].strip() for line in pins if "==" in line and line[0].isalpha()]
    sizes = {name: _package_bytes(name) for name in names}
    ours = sum(
        path.stat().st_size
        for part in ("edge_agent", "models/contract", "models/detector", "models/released")
        for path in (REPOSITORY / part).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and "float" not in path.parts
    )
    largest = sorted(sizes.items(), key=lambda entry: -entry[1])[:5]
    total = sum(sizes.values()) + ours
    return {
        "top": {"install_size_mb": round(total / 2**20, 1)},
        "packages": sum(1 for size in sizes.values() if size),
        "largest_mb": {name: round(size / 2**20, 1) for name, size in largest},
        "sightline_and_model_mb": round(ours / 2**20, 1),
        "python": sys.version.split()[0],
    }


def _start_once(plant: Plant, path: Path) -> float:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(WAIT_S)
        plant.agent.environment = {"NOTIFY_SOCKET": str(path)}
        began = time.monotonic()
        plant.agent.start()
        while b"READY=1" not in manager.recv(1000):
            pass
        took = time.monotonic() - began
    plant.agent.stop()
    return took


def _package_bytes(name: str) -> int:
    with suppress(PackageNotFoundError):
        files = distribution(name).files or []
        return sum(path.stat().st_size for f in files if (path := Path(str(f.locate()))).is_file())
    return 0  # a package for other systems


def _rss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kb = next(line.split()[1] for line in lines if line.startswith("VmRSS:"))
    return round(int(kb) / 1024, 1)


SECTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "size": measure_size,
    "start": measure_start,
    "memory": measure_memory,
}

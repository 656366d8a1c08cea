"""What every bench says of where it ran, and whether it was alone there."""

import os
import platform
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    with Path("/proc/cpuinfo").open() as lines:
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "system": platform.platform(),
    }


def commit() -> str:
    """Which state of the code was measured."""
    git = [shutil.which("git") or "git", "describe", "--always", "--dirty", "--exclude=*"]
    said = subprocess.run(git, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return said.stdout.strip() or "unknown"


def load_average() -> float:
    """Processes that wanted a core in the last minute."""
    return round(os.getloadavg()[0], 2)


def say(text: str) -> None:
    """Tell whoever waits how far it is."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


class Watch:
    """Processor time that other programs took since this was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._busy_s, self._own_s = _busy_s(), own_cpu_s()

    def foreign_cores(self) -> float:
        """Cores that others kept busy, on average."""
        elapsed_s = time.monotonic() - self._began
        foreign_s = (_busy_s() - self._busy_s) - (own_cpu_s() - self._own_s)
        return round(max(foreign_s, 0.0) / elapsed_s, 3)


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


def own_cpu_s() -> float:
    """Processor time of this process and all below it, those that have ended among them."""
    me = psutil.Process(os.getpid())
    waited = me.cpu_times()
    total = waited.children_user + waited.children_system
    for process in (me, *me.children(recursive=True)):
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return float(total)

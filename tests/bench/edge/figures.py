"""Percentiles, what the machine is, and the file that the figures go to."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..machine import REPOSITORY, commit, load_average, machine, say  # noqa: TID252

__all__ = ["REPOSITORY", "Effort", "load_average", "median", "merge", "percentile", "say", "spread"]

MEASURED_WITH = ("openvino", "opencv-python-headless", "numpy", "paho-mqtt", "fastapi", "uvicorn")


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    is_quick: bool = False
    num_rounds: int | None = None
    """Instead of each section's own number."""

    def rounds(self, quick: int, full: int) -> int:
        return self.num_rounds or (quick if self.is_quick else full)


def percentile(values: Sequence[float], share: float) -> float:
    """Percentile by linear interpolation."""
    return float(np.percentile(np.asarray(values), share))


def spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """p50, p95, p99, largest, and how many there were."""
    return {
        "p50": round(percentile(values, 50), digits),
        "p95": round(percentile(values, 95), digits),
        "p99": round(percentile(values, 99), digits),
        "max": round(max(values), digits),
        "count": len(values),
    }


def median(values: Sequence[float], digits: int = 3) -> float:
    """Median, rounded."""
    return round(float(np.median(np.asarray(values))), digits)


def versions() -> dict[str, str]:
    """Of what was measured."""
    known = {name: version(name) for name in MEASURED_WITH}
    return {"python": platform.python_version(), "mosquitto": _mosquitto(), **known}


def _mosquitto() -> str:
    from .plant import mosquitto_program

    said = subprocess.run([mosquitto_program(), "-h"], capture_output=True, text=True, check=False)
    return said.stdout.split("\n", 1)[0].removeprefix("mosquitto version ").strip()


def merge(path: Path, section: str, figures: dict[str, Any], *, is_quick: bool) -> None:
    """Put the figures of one section into the file; what other sections wrote stays."""
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    top, details = figures.pop("top"), figures
    known.update(top)
    known["machine"], known["versions"] = machine(), versions()
    known.setdefault("rounds", {})[section] = figures.get("rounds", 1)
    stamp = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "load_average_after": load_average(),
        "is_realtime": os.sched_getscheduler(0) == os.SCHED_RR,
        "is_quick": is_quick,
    }
    known.setdefault("details", {})[section] = {**stamp, **details}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known, indent=2) + "\n")

"""Percentiles, what the machine is, and the file that the figures go to."""

import json
import platform
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cloud.statistics import percentile

from ..machine import REPOSITORY, commit, load_average, machine, say  # noqa: TID252

__all__ = ["REPOSITORY", "merge", "say", "spread"]

MEASURED_WITH = ("sqlalchemy", "psycopg", "paho-mqtt", "fastapi", "uvicorn", "nicegui", "pydantic")


def spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """Nearest-rank p50, p95, p99, the largest, and how many there were."""
    return {
        "p50": round(percentile(values, 0.5) or 0.0, digits),
        "p95": round(percentile(values, 0.95) or 0.0, digits),
        "p99": round(percentile(values, 0.99) or 0.0, digits),
        "max": round(max(values), digits),
        "count": len(values),
    }


def versions() -> dict[str, str]:
    """Of what was measured."""
    found = {name: version(name) for name in MEASURED_WITH}
    return {"python": platform.python_version(), **_servers(), **found}


def _servers() -> dict[str, str]:
    postgres = max(map(str, Path("/usr/lib/postgresql").glob("*/bin/postgres")), default="")
    programs = {
        "mosquitto": (shutil.which("mosquitto", path="/usr/sbin:/usr/bin"), "-h"),
        "postgresql": (postgres, "--version"),
    }
    said = {}
    for name, (program, argument) in programs.items():
        if program:
            done = subprocess.run([program, argument], capture_output=True, text=True, check=False)
            said[name] = done.stdout.split("\n", 1)[0].split("version ")[-1].split(") ")[-1]
    return said


def merge(path: Path, section: str, figures: dict[str, Any]) -> None:
    """Put the figures of one section into the file; what other sections wrote stays."""
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    sizes = known.get("sizes", {}) | {section: figures["top"].pop("sizes", {})}
    details = {name: value for name, value in figures.items() if name != "top"}
    known |= figures["top"] | {"sizes": sizes, "machine": machine(), "versions": versions()}
    known.setdefault("details", {})[section] = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "load_average_after": load_average(),
        **details,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known, indent=2) + "\n")

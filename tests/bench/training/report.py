"""Rounds that alternate, their medians, and the file that the figures go to."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from ..machine import (  # noqa: TID252
    REPOSITORY,
    Watch,
    commit,
    load_average,
    machine,
    own_cpu_s,
    say,
)

__all__ = ["REPOSITORY", "alternate", "load_average", "merge", "ratio", "say"]

MEASURED_WITH = (
    *("pyspark", "pyarrow", "tensorflow-cpu", "keras", "openvino", "nncf", "numpy"),
    "opencv-python-headless",
)
Side = Callable[[], float]
"""Does the work once; says how many pictures (samples, inferences) a second that was."""


def alternate(sides: Mapping[str, Side], rounds: int) -> dict[str, Any]:
    """Run all sides in turn, forwards and backwards, some rounds long.

    Returns:
        The rates of every side in each round, their medians, what processor time each took, which
        others disturb least, and the cores that others kept busy.
    """
    rates: dict[str, list[float]] = {name: [] for name in sides}
    cpu_s: dict[str, list[float]] = {name: [] for name in sides}
    foreign = []
    for number in range(rounds):
        watch = Watch()
        for name in list(sides) if number % 2 == 0 else reversed(list(sides)):
            before = own_cpu_s()
            rates[name].append(round(sides[name](), 2))
            cpu_s[name].append(round(own_cpu_s() - before, 2))
        foreign.append(watch.foreign_cores())
        say(f"round {number + 1}: " + ", ".join(f"{name} {r[-1]}" for name, r in rates.items()))
    return {
        "rounds": rounds,
        "per_s": {name: round(median(values), 2) for name, values in rates.items()},
        "all_rounds_per_s": rates,
        "cpu_s": {name: round(median(values), 2) for name, values in cpu_s.items()},
        "foreign_cores": foreign,
    }


def ratio(found: Mapping[str, Any], side: str, other: str) -> float:
    """Median over the rounds of one side's rate against the other's in the same round."""
    pairs = zip(found["all_rounds_per_s"][side], found["all_rounds_per_s"][other], strict=True)
    return round(float(median(a / b for a, b in pairs)), 3)


def merge(path: Path, part: str, figures: dict[str, Any], *, is_quick: bool) -> None:
    """Put the figures of one part into the file; what other parts wrote stays."""
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    top, details = figures.pop("top"), figures
    known.update(top)
    known["machine"], known["versions"] = machine(), _versions()
    stamp = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": f"make bench-training ARGS='--only {part}'",
        "commit": commit(),
        "load_average_after": load_average(),
        "is_quick": is_quick,
    }
    known.setdefault("details", {})[part] = stamp | details
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known, indent=2) + "\n")


def _versions() -> dict[str, str]:
    found = {}
    for name in MEASURED_WITH:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

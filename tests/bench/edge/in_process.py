"""The agent's cycle in one process beside bare OpenVINO, and two of each at once."""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .figures import REPOSITORY, Effort
from .plant import BUNDLE, NUM_THREADS, pictures

NUM_PROCESSES = 7
"""Where its memory lies moves two cycles at once by 2 % from one process to the next."""


def measure(work: Path, effort: Effort) -> dict[str, Any]:
    """What `sightline-edge bench` says of the camera's pictures.

    Those are twice as wide and high as the network's input, as a camera is best set up. Beside it
    the bundle's golden pictures, whose odd size costs OpenCV longer to bring down.
    """
    folder = str(pictures(work / "pictures"))
    camera, golden = [], []
    rounds, cycles = effort.rounds(5, 5), 50 if effort.is_quick else 100
    for _ in range(1 if effort.is_quick else NUM_PROCESSES):
        camera.append(_bench(rounds, cycles, "--pictures", folder))
        golden.append(_bench(rounds, cycles))
    report = _medians(camera)
    names = ("cycle_over_infer_ratio", "throughput_ratio")
    top = {name: report[name] for name in names}
    return {
        "top": {**top, "cycle_overhead_ms_p50": report["overhead_ms_p50"]},
        **report,
        "golden_pictures": _medians(golden),
    }


def _medians(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Each figure's median over the processes; what they have in common as it is."""
    found = dict(reports[0])
    for name, value in reports[0].items():
        if isinstance(value, float):
            found[name] = round(statistics.median(report[name] for report in reports), 3)
    found["rounds"] = sum(report["rounds"] for report in reports)
    found["throughput_ratio_by_process"] = [report["throughput_ratio"] for report in reports]
    return found


def _bench(rounds: int, cycles: int, *more: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "edge_agent.cli", "bench", "--json", "--bundle", str(BUNDLE)]
    command += ["--threads", str(NUM_THREADS), "--rounds", str(rounds), "--cycles", str(cycles)]
    said = subprocess.run(
        [*command, *more], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    report: dict[str, Any] = json.loads(said.stdout)
    return report


SECTIONS: dict[str, Callable[..., dict[str, Any]]] = {"cycle": measure}

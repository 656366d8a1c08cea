"""The agent's cycle in one process beside bare OpenVINO, and two of each at once."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .figures import REPOSITORY, Effort
from .plant import BUNDLE, NUM_THREADS, pictures


def measure(work: Path, effort: Effort) -> dict[str, Any]:
    """What `sightline-edge bench` says of the camera's pictures.

    Those are twice as wide and high as the network's input, as a camera is best set up. Beside it
    the bundle's golden pictures, whose odd size costs OpenCV longer to bring down.
    """
    rounds, cycles = effort.rounds(5, 25), 50 if effort.is_quick else 100
    report = _bench(rounds, cycles, "--pictures", str(pictures(work / "pictures")))
    names = ("cycle_over_infer_ratio", "throughput_ratio")
    top = {name: report[name] for name in names}
    return {
        "top": {**top, "cycle_overhead_ms_p50": report["overhead_ms_p50"]},
        **report,
        "golden_pictures": _bench(rounds, cycles),
    }


def _bench(rounds: int, cycles: int, *more: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "edge_agent.cli", "bench", "--json", "--bundle", str(BUNDLE)]
    command += ["--threads", str(NUM_THREADS), "--rounds", str(rounds), "--cycles", str(cycles)]
    said = subprocess.run(
        [*command, *more], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    report: dict[str, Any] = json.loads(said.stdout)
    return report


SECTIONS: dict[str, Callable[..., dict[str, Any]]] = {"cycle": measure}

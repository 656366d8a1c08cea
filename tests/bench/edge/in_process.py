"""The agent's cycle in one process beside bare OpenVINO, and two of each at once."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .figures import REPOSITORY, Effort
from .plant import BUNDLE, NUM_THREADS


def measure(_work: Path, effort: Effort) -> dict[str, Any]:
    """What `sightline-edge bench` says."""
    rounds, cycles = effort.rounds(5, 25), 50 if effort.is_quick else 100
    command = [sys.executable, "-m", "edge_agent.cli", "bench", "--json", "--bundle", str(BUNDLE)]
    command += ["--threads", str(NUM_THREADS), "--rounds", str(rounds), "--cycles", str(cycles)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    report = json.loads(said.stdout)
    names = ("cycle_over_infer_ratio", "throughput_ratio")
    top = {name: report[name] for name in names}
    return {"top": {**top, "cycle_overhead_ms_p50": report["overhead_ms_p50"]}, **report}


SECTIONS: dict[str, Callable[..., dict[str, Any]]] = {"cycle": measure}

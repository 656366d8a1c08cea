"""Training steps on barrier ranks beside a plain TensorFlow loop, and two ranks beside one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from .report import REPOSITORY, Side, alternate, ratio

ROUNDS, QUICK_ROUNDS = 5, 1
STEPS, QUICK_STEPS = 40, 6
BATCH = 16
PROBE_TIMEOUT_S = 1200


def measure_rank(_: Path, *, is_quick: bool) -> dict[str, Any]:
    """One rank with all cores against a loop of the same network, batches and optimizer."""
    cores = len(os.sched_getaffinity(0))
    sides = {
        "one_rank": _probe("rank", 1, cores, is_quick=is_quick),
        "plain_loop": _probe("plain", 1, cores, is_quick=is_quick),
    }
    found = alternate(sides, QUICK_ROUNDS if is_quick else ROUNDS)
    top = {
        "rank_samples_per_s": found["per_s"]["one_rank"],
        "rank_vs_plain_loop": ratio(found, "one_rank", "plain_loop"),
    }
    why = (
        "Both sides read the same batches from the same feeder. The rank pays for the distribution"
        " strategy's wrapping of each step and for a gradient sum over one member."
    )
    return {"top": top, "target": {"rank_vs_plain_loop": 0.95}, "why": why, **found}


def measure_ranks(_: Path, *, is_quick: bool) -> dict[str, Any]:
    """Two ranks of one thread each against one rank of one thread; the batch stays the same."""
    sides = {
        "two_ranks_of_one_thread": _probe("rank", 2, 2, is_quick=is_quick),
        "one_rank_of_one_thread": _probe("rank", 1, 1, is_quick=is_quick),
    }
    found = alternate(sides, QUICK_ROUNDS if is_quick else ROUNDS)
    top = {
        "two_ranks_vs_one": ratio(found, "two_ranks_of_one_thread", "one_rank_of_one_thread"),
    }
    why = (
        "Between two steps the ranks add up all gradients over gRPC, and the slower one is waited"
        " for; while they do, the cores that compute have nothing to do. Both share one memory bus."
    )
    return {"top": top, "target": {"two_ranks_vs_one": 1.8}, "why": why, **found}


def _probe(side: str, ranks: int, cores: int, *, is_quick: bool) -> Side:
    """A process of its own for each round: TensorFlow keeps its threads until it ends."""
    arguments = ["--side", side, "--ranks", str(ranks), "--cores", str(cores)]
    arguments += ["--batch", str(BATCH), "--steps", str(QUICK_STEPS if is_quick else STEPS)]

    def run() -> float:
        ended = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("step_probe.py")), *arguments],
            env=os.environ | {"PYTHONPATH": f"{REPOSITORY}", "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=subprocess.PIPE,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=True,
        )
        return float(json.loads(ended.stdout.splitlines()[-1])["samples_per_s"])

    return run

"""Distributed evaluation: two executor slots beside one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from .pictures import rendered
from .report import REPOSITORY, Side, alternate, ratio

COUNT, QUICK_COUNT = 1200, 200
ROUNDS, QUICK_ROUNDS = 5, 1
BUNDLE = REPOSITORY / "models" / "released" / "plate"
PROBE_TIMEOUT_S = 900
WHY = (
    "Each executor compiles the model for itself before its first picture and decodes with one"
    " thread; two that run beside each other share caches and the memory bus."
)


def measure(work: Path, *, is_quick: bool) -> dict[str, Any]:
    folder = rendered(work, QUICK_COUNT if is_quick else COUNT)
    sides = {"two_executors": _probe(folder, 2), "one_executor": _probe(folder, 1)}
    found = alternate(sides, QUICK_ROUNDS if is_quick else ROUNDS)
    top = {
        "evaluation_images_per_s": found["per_s"]["two_executors"],
        "evaluation_two_vs_one": ratio(found, "two_executors", "one_executor"),
    }
    return {"top": top, "target": {"evaluation_two_vs_one": 1.8}, "why": WHY, **found}


def _probe(folder: Path, slots: int) -> Side:
    """The command as its users run it; its rate leaves Spark's own start out."""
    arguments = ["evaluate", "--bundle", str(BUNDLE), "--labels", str(folder / "coco.json")]
    arguments += ["--images", str(folder / "images"), "--master", f"local[{slots}]", "--json"]

    def run() -> float:
        ended = subprocess.run(
            [sys.executable, "-m", "models.training.cli", *arguments],
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=True,
        )
        return float(json.loads(ended.stdout.splitlines()[-1])["images_per_s"])

    return run

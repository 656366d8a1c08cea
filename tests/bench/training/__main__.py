"""``make bench-training``: the training side beside what one would write by hand.

Every ratio alternates its two sides round by round in one run, so that what else the machine does
meets both; the medians count. ``PYTHONPATH=tests python -m bench.training --quick --only import``
while working on one of them.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import evaluation, imports, runtimes, steps
from .report import REPOSITORY, load_average, merge, say

PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "import": imports.measure,
    "rank": steps.measure_rank,
    "ranks": steps.measure_ranks,
    "runtimes": runtimes.measure,
    "evaluation": evaluation.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=sorted(PARTS), help="this part")
    parser.add_argument("--quick", action="store_true", help="few rounds, to develop with")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "bench" / "training.json")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "run" / "bench-training")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    for name in options.only or PARTS:
        say(f"{name}: load average {load_average()}")
        figures = PARTS[name](options.work.resolve(), is_quick=options.quick)
        say(f"{name}: {figures['top']}")
        merge(options.out, name, figures, is_quick=options.quick)


if __name__ == "__main__":
    main()

"""``make bench-cloud``: real processes, a real broker, a durable PostgreSQL; bench/cloud.json.

``PYTHONPATH=tests python -m bench.cloud --only ratio --rows 5000`` while working on one of them.
Each section can be run by itself and adds to the file. The history that ``pages`` reads stays in
``--work`` (10 GB and more): ``--only seed`` makes it beforehand, in steps that may be interrupted;
``--only pages --sizes 1000000``, and later ``--sizes 1000000,10000000``, go on from what is there.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import dashboards, ingest, pages
from .figures import REPOSITORY, merge, say


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", action="append", help="ratio, sharing, lag, dashboards, pages, or seed"
    )
    parser.add_argument("--rows", type=int, default=30_000, help="results of ratio and sharing")
    parser.add_argument("--rounds", type=int, default=3, help="of ratio and sharing")
    parser.add_argument("--seconds", type=int, default=30, help="of lag and dashboards")
    parser.add_argument("--rate", type=int, default=1_000, help="results a second of lag")
    parser.add_argument("--sizes", default="1000000,10000000", help="results of pages, rising")
    parser.add_argument("--calls", type=int, default=pages.ROUNDS, help="of each page and list")
    parser.add_argument("--fresh", action="store_true", help="begin the history of pages anew")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "bench" / "cloud.json")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "run" / "bench-cloud")
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    sizes = tuple(int(size) for size in options.sizes.split(","))
    sections: dict[str, Callable[[], dict[str, Any]]] = {
        "ratio": lambda: ingest.measure_ratio(work, rows=options.rows, rounds=options.rounds),
        "sharing": lambda: ingest.measure_sharing(work, rows=options.rows, rounds=options.rounds),
        "lag": lambda: ingest.measure_lag(work, per_second=options.rate, seconds=options.seconds),
        "dashboards": lambda: dashboards.measure(work, seconds=options.seconds),
        "pages": lambda: pages.measure(
            work, sizes=sizes, rounds=options.calls, is_fresh=options.fresh
        ),
    }
    chores = {
        "seed": lambda: pages.prepare(work, size=max(sizes), is_fresh=options.fresh),
    }
    unknown = set(options.only or ()) - sections.keys() - chores.keys()
    if unknown:
        parser.error(f"there is no section {', '.join(sorted(unknown))}")
    for name in options.only or sections:
        if name in chores:
            say(f"{name}: {chores[name]()}")
            continue
        figures = sections[name]()
        say(f"{name}: {figures['top']}")
        merge(options.out, name, figures)


if __name__ == "__main__":
    main()

"""Faults against real processes and a real broker: short in `make test`, in full in `make chaos`.

``SIGHTLINE_CHAOS=full`` gives the full form; ``SIGHTLINE_CHAOS_SEED`` other dice.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from simulators.chaos.stage import IS_FULL, BrokerProcess, Row, Stage
from simulators.chaos.toy_model import make_toy_bundle

REPOSITORY = Path(__file__).resolve().parents[2]
SEED = int(os.environ.get("SIGHTLINE_CHAOS_SEED", "1"))
REPORT = REPOSITORY / "bench" / "chaos.json"


NOTED: list[Row] = []


@pytest.fixture(scope="session")
def toy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy_bundle(tmp_path_factory.mktemp("toy") / "baseline", "scratch")


@pytest.fixture
def chaos(
    tmp_path: Path,
    toy_bundle: Path,
    new_broker: Callable[[], BrokerProcess],
) -> Iterator[Stage]:
    made = Stage(tmp_path, IS_FULL, SEED, toy_bundle, new_broker)
    begin = time.monotonic()
    yield made
    for clean_up in reversed(made.cleanups):
        clean_up()
    for row in made.rows:
        row.seconds = round(time.monotonic() - begin, 1)
    NOTED.extend(made.rows)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = sorted(NOTED, key=lambda row: (row.number, row.fault))
    if not rows or not IS_FULL:
        return
    terminalreporter.section(f"faults (seed {SEED})")
    for row in rows:
        terminalreporter.write_line(
            f"{row.number:>3} {row.fault:<44} x{row.times:<6} {row.invariant:<14}"
            f" {row.figure} ({row.seconds:.0f} s)"
        )
    _write_report(rows)


def _write_report(rows: list[Row]) -> None:
    """Merge: rows may be run one by one."""
    kept = json.loads(REPORT.read_text(encoding="utf-8"))["rows"] if REPORT.exists() else []
    fresh = [asdict(row) | {"at": datetime.now(UTC).isoformat(timespec="seconds")} for row in rows]
    said = {(row["number"], row["fault"]) for row in fresh}
    kept = [row for row in kept if (row["number"], row["fault"]) not in said]
    document = {
        "machine": {"cpus": os.cpu_count(), "platform": platform.platform()},
        "rows": sorted(kept + fresh, key=lambda row: (row["number"], row["fault"])),
    }
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

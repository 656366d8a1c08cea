"""The cloud's ingest as processes of their own, on a database that a test can count in."""

import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

from simulators.chaos.processes import ManagedProcess

RECORD_TABLES = ("results", "truths", "station_events")
"""One row a record, by its kind."""


class CloudIngest:
    """One ingest and its database.

    Args:
        folder: for its settings and data.
        port: of the uplink broker.
        host: of the uplink broker.
        storage: lines for the storage section.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        host: str = "127.0.0.1",
        storage: str = "min_free_bytes = 0",
        name: str = "one",
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.database = folder / "cloud.db"
        self.config = folder / "cloud.toml"
        self.config.write_text(
            f'[database]\nurl = "sqlite:///{self.database}"\n[storage]\nurl = "images"\n{storage}\n'
            f'[broker]\nhost = "{host}"\nport = {port}\nreconnect_cap_s = 0.5\n',
            encoding="utf-8",
        )
        self.process = ManagedProcess(
            ("-m", "cloud.cli", "ingest", "-c", str(self.config), "--name", name),
            folder / "ingest.log",
        )

    def migrate(self) -> None:
        """Make the tables."""
        command = [sys.executable, "-m", "cloud.cli", "migrate", "-c", str(self.config)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)  # noqa: S603

    def records(self) -> dict[str, Counter[int]]:
        """How often each record is there: by boot, by sequence number."""
        found: dict[str, Counter[int]] = {}
        with closing(self._open()) as database:
            for table in RECORD_TABLES:
                rows = database.execute(f'SELECT boot_id, seq FROM "{table}"')  # noqa: S608
                for boot_id, seq in rows:
                    found.setdefault(_canonical(boot_id), Counter())[seq] += 1
        return found

    def num_records(self) -> int:
        """All of them."""
        return sum(counter.total() for counter in self.records().values())

    def num_rows(self, table: str) -> int:
        """Rows of a table."""
        with closing(self._open()) as database:
            (count,) = database.execute(f'SELECT count(*) FROM "{table}"').fetchone()  # noqa: S608
            return int(count)

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=20)


def missing_and_doubled(made: dict[str, int], found: dict[str, Counter[int]]) -> tuple[int, int]:
    """Invariants I1 and I2: records that the cloud lacks, and records that it has twice.

    Args:
        made: last sequence number of each boot of the edge.
        found: the cloud's.
    """
    missing = sum(
        1
        for boot_id, last in made.items()
        for seq in range(1, last + 1)
        if not found.get(_canonical(boot_id), Counter())[seq]
    )
    doubled = sum(count - 1 for counter in found.values() for count in counter.values())
    return missing, doubled


def _canonical(boot_id: object) -> str:
    text = boot_id.hex() if isinstance(boot_id, bytes) else str(boot_id)
    return text.replace("-", "").lower()

"""Counting from outside: what the cells made, what the cloud has, what nobody may have twice."""

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from simulators.cloud_client import CloudClient
from simulators.demo.report import RecordCounts
from simulators.demo.workshop import CellFiles
from simulators.errors import SimulatorError

DATABASE_NAME = "outbox.sqlite3"
RECORDS = "records"


def records_made(cells: Iterable[CellFiles]) -> dict[tuple[str, str], int]:
    """Last sequence number of every boot, from the cells' own disks.

    Raises:
        SimulatorError: an outbox cannot be read.
    """
    made = {}
    for cell in cells:
        query = "SELECT boot_id, last_seq FROM sequences WHERE stream = ?"
        for boot_id, last in _query(cell.outbox, query, RECORDS):
            made[str(cell.address), str(boot_id)] = int(last)
    return made


def waiting(cells: Iterable[CellFiles]) -> int:
    """Records and pictures that wait in the cells' outboxes."""
    total = 0
    for cell in cells:
        total += sum(int(count) for (count,) in _query(cell.outbox, "SELECT count(*) FROM pending"))
    return total


def compare(cloud: CloudClient, cells: Iterable[CellFiles]) -> list[RecordCounts]:
    """Records of every boot, as the cell and as the cloud count them.

    Raises:
        SimulatorError: an outbox or the cloud cannot be read.
    """
    in_cloud = {
        (row["cell"], row["boot_id"]): int(row["num_records"])
        for row in cloud.get("statistics/records")
    }
    made = records_made(cells)
    return [
        RecordCounts(cell, boot, made.get((cell, boot), 0), in_cloud.get((cell, boot), 0))
        for cell, boot in sorted(made.keys() | in_cloud.keys())
    ]


def duplicates(cloud: CloudClient) -> int:
    """Rows of results that tell what another row tells."""
    identities: Counter[tuple[str, str, int]] = Counter()
    results: Counter[str] = Counter()
    for row in cloud.pages("results"):
        identities[row["cell"], row["boot_id"], int(row["seq"])] += 1
        results[row["result_id"]] += 1
    return sum(n - 1 for n in identities.values()) + sum(n - 1 for n in results.values())


def _query(outbox: Path, sql: str, *values: str) -> list[tuple[Any, ...]]:
    path = outbox / DATABASE_NAME
    if not path.exists():
        return []
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        ) as database:
            return database.execute(sql, values).fetchall()
    except sqlite3.Error as error:
        raise SimulatorError(f"outbox {path} cannot be read: {error}") from error

"""Records into their tables and counters, in one transaction, each exactly once.

Those that are there already are left out first; what two processes write at the same moment the
unique keys refuse, and the batch is tried again. So each row that goes in is new, and counts.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from cloud.arrivals import Key, RecordArrival
from cloud.ingest_rows import (
    POSTGRESQL,
    RECORD_COLUMNS,
    SQLITE,
    Values,
    record_rows,
    table_name,
)
from cloud.tallies import Tallies, TallyKey, of_inspection, of_truth, quarter_of
from cloud.tally_store import add_tallies, late_looks
from models.contract.messages import Inspection, Truth

Pair = tuple[str, str]
"""Part and cell."""

_KNOWN_SQLITE = (
    "SELECT seq FROM {table} WHERE cell = ? AND boot_id = ?"
    " AND seq IN (SELECT value FROM json_each(?))"
)
_KNOWN_POSTGRESQL = (
    "SELECT cell, boot_id, seq FROM unnest(%s::text[], %s::uuid[], %s::bigint[])"
    " AS sent(cell, boot_id, seq) JOIN {table} USING (cell, boot_id, seq)"
)
_FIRSTS = "SELECT id, part_id, cell, created_at, boot_id, seq, verdict, recipe_id FROM results"
_FIRSTS_SQLITE = f"{_FIRSTS} WHERE is_first = 1 AND part_id IN (SELECT value FROM json_each(?))"  # noqa: S608
_FIRSTS_POSTGRESQL = f"{_FIRSTS} WHERE is_first AND part_id = ANY(%s)"
_BOOTS = (
    "INSERT INTO boot_counts (cell, boot_id, num_records, last_seq) VALUES ({marks})"
    " ON CONFLICT (cell, boot_id) DO UPDATE SET"
    " num_records = boot_counts.num_records + excluded.num_records,"
    " last_seq = {larger}(boot_counts.last_seq, excluded.last_seq)"
)


@dataclass(frozen=True, slots=True, order=True)
class _First:
    """The first joined result of a part, as far as it has arrived; they sort by time."""

    created_at: datetime
    boot_id: str
    seq: int
    verdict: str = ""
    recipe_id: str = ""
    row_id: int | None = None
    """None: it is in the batch itself."""


def write_records(session: Session, arrivals: Iterable[RecordArrival]) -> None:
    """Add the records that are not there yet, and count them.

    Raises:
        IntegrityError: another process wrote some of them at the same moment: try again.
    """
    driver = _driver(session.connection())
    fresh = _fresh(driver, arrivals)
    if not fresh:
        return
    tallies = Tallies()
    firsts = _choose_firsts(driver, fresh, tallies)
    rows: dict[str, list[Values]] = {table: [] for table in RECORD_COLUMNS}
    hard: list[UUID] = []
    for arrival in fresh:
        event, body, cell = arrival.event, arrival.event.body, str(arrival.key.cell)
        is_first = arrival.key in firsts
        for table, values in record_rows(arrival, driver.codec, is_first=is_first):
            rows[table].append(values)
        if isinstance(body, Inspection):
            tallies.update(of_inspection(cell, event.created_at, body, is_first=is_first))
            if body.hard_reasons:
                hard.append(body.result_id)
        elif isinstance(body, Truth):
            tallies[of_truth(cell, event.created_at, body)] += 1
    for table, table_rows in rows.items():
        if table_rows:
            driver.add(table, table_rows)
    driver.count_boots(arrival.key for arrival in fresh)
    if hard:
        tallies.update(late_looks(session, hard))
    add_tallies(session, tallies)


def _fresh(driver: "_Driver", arrivals: Iterable[RecordArrival]) -> list[RecordArrival]:
    tables: dict[str, dict[Key, RecordArrival]] = defaultdict(dict)
    for arrival in arrivals:
        tables[table_name(arrival.event.body)].setdefault(arrival.key, arrival)
    fresh = []
    for table, sent in tables.items():
        known = driver.known(table, sent)
        fresh += [arrival for key, arrival in sent.items() if key not in known]
    # Two processes that insert the same rows in different orders would deadlock.
    return sorted(fresh, key=lambda arrival: (arrival.key.cell, arrival.key.seq))


def _choose_firsts(
    driver: "_Driver", fresh: Sequence[RecordArrival], tallies: Tallies
) -> frozenset[Key]:
    """Which of these are the first of their parts; one that was and is no longer is taken back."""
    candidates: dict[Pair, tuple[_First, Key]] = {}
    for arrival in fresh:
        event, body = arrival.event, arrival.event.body
        if isinstance(body, Inspection) and not body.is_partial:
            pair = body.part_id, str(arrival.key.cell)
            mine = _First(event.created_at, str(event.boot_id), event.seq)
            if pair not in candidates or mine < candidates[pair][0]:
                candidates[pair] = mine, arrival.key
    known = driver.firsts(candidates) if candidates else {}
    later = []
    for pair, first in known.items():
        if candidates[pair][0] < first:
            later.append(first.row_id)
            start_s = quarter_of(first.created_at)
            tallies[TallyKey("first", pair[1], start_s, first.recipe_id, first.verdict)] -= 1
        else:
            del candidates[pair]
    driver.take_back(later)
    return frozenset(key for _, key in candidates.values())


class _Driver:
    """The statements in the words of SQLite, as its driver takes them fastest."""

    codec = SQLITE

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def known(self, table: str, keys: Mapping[Key, object]) -> set[Key]:
        boots: dict[tuple[Any, UUID], dict[int, Key]] = defaultdict(dict)
        for key in keys:
            boots[key.cell, key.boot_id][key.seq] = key
        query = _KNOWN_SQLITE.format(table=table)
        found: set[Key] = set()
        for (cell, boot_id), by_seq in boots.items():
            values = str(cell), boot_id.hex, str(list(by_seq))
            rows = self._connection.exec_driver_sql(query, values)
            found.update(by_seq[seq] for (seq,) in rows)
        return found

    def firsts(self, pairs: Mapping[Pair, object]) -> dict[Pair, _First]:
        parts = _json_texts({part for part, _ in pairs})
        rows = self._connection.exec_driver_sql(_FIRSTS_SQLITE, (parts,))
        return {
            (part, cell): _First(_aware(at), str(UUID(boot_id)), seq, verdict, recipe_id, row_id)
            for row_id, part, cell, at, boot_id, seq, verdict, recipe_id in rows
            if (part, cell) in pairs
        }

    def take_back(self, rows: Sequence[int | None]) -> None:
        if rows:
            statement = "UPDATE results SET is_first = 0 WHERE id = ?"
            self._connection.exec_driver_sql(statement, [(row,) for row in rows])

    def add(self, table: str, rows: list[Values]) -> None:
        columns = RECORD_COLUMNS[table]
        marks = ", ".join("?" * len(columns))
        statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608
        self._connection.exec_driver_sql(statement, rows)

    def count_boots(self, keys: Iterable[Key]) -> None:
        statement = _BOOTS.format(marks="?, ?, ?, ?", larger="max")
        self._connection.exec_driver_sql(statement, self._boots(keys))

    def _boots(self, keys: Iterable[Key]) -> list[Values]:
        seqs: dict[tuple[str, Any], list[int]] = defaultdict(list)
        for key in keys:
            seqs[str(key.cell), self.codec.identity(key.boot_id)].append(key.seq)
        return [(*boot, len(found), max(found)) for boot, found in sorted(seqs.items())]


class _PostgresqlDriver(_Driver):
    """The same in the words of PostgreSQL, with COPY for the rows."""

    codec = POSTGRESQL

    def known(self, table: str, keys: Mapping[Key, object]) -> set[Key]:
        by_text = {(str(key.cell), key.boot_id, key.seq): key for key in keys}
        values = tuple(map(list, zip(*by_text, strict=True)))
        query = _KNOWN_POSTGRESQL.format(table=table)
        rows = self._connection.exec_driver_sql(query, values)
        return {by_text[cell, boot_id, seq] for cell, boot_id, seq in rows}

    def firsts(self, pairs: Mapping[Pair, object]) -> dict[Pair, _First]:
        parts = sorted({part for part, _ in pairs})
        rows = self._connection.exec_driver_sql(_FIRSTS_POSTGRESQL, (parts,))
        return {
            (part, cell): _First(at, str(boot_id), seq, verdict, recipe_id, row_id)
            for row_id, part, cell, at, boot_id, seq, verdict, recipe_id in rows
            if (part, cell) in pairs
        }

    def take_back(self, rows: Sequence[int | None]) -> None:
        if rows:
            statement = "UPDATE results SET is_first = false WHERE id = ANY(%s)"
            self._connection.exec_driver_sql(statement, (list(rows),))

    def add(self, table: str, rows: list[Values]) -> None:
        statement = f"COPY {table} ({', '.join(RECORD_COLUMNS[table])}) FROM STDIN"
        cursor: Any = self._connection.connection.cursor()
        with self._errors_of(statement), cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)

    @contextmanager
    def _errors_of(self, statement: str) -> Iterator[None]:
        """COPY is the driver's own: its errors become those of every other statement."""
        dialect = self._connection.dialect
        dbapi: Any = dialect.loaded_dbapi
        try:
            yield
        except dbapi.Error as error:
            raise DBAPIError.instance(
                statement, None, error, dbapi.Error, dialect=dialect
            ) from error

    def count_boots(self, keys: Iterable[Key]) -> None:
        statement = _BOOTS.format(marks="%s, %s, %s, %s", larger="greatest")
        self._connection.exec_driver_sql(statement, self._boots(keys))


def _driver(connection: Connection) -> _Driver:
    return (_Driver if connection.dialect.name == "sqlite" else _PostgresqlDriver)(connection)


def _aware(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _json_texts(texts: Iterable[str]) -> str:
    return json.dumps(sorted(texts))

"""What the record writer asks of a database, in the words of each."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from cloud.arrivals import RecordArrival
from cloud.ingest_rows import RECORD_COLUMNS, Values, plain_moment, zoned_moment

Pair = tuple[str, str]
"""Part and cell."""
Boot = tuple[str, int]
"""Cell and boot, as a number: comparing those costs least."""
RecordKey = tuple[str, int, int]
"""The same, and the record's own number."""
ROWS_AT_ONCE = 100

_KNOWN_SQLITE = (
    "SELECT seq FROM {table} WHERE cell = ? AND boot_id = ?"
    " AND seq IN (SELECT value FROM json_each(?))"
)
_KNOWN_POSTGRESQL = (
    "SELECT cell, boot_id, seq FROM unnest(%s::text[], %s::uuid[], %s::bigint[])"
    " AS sent(cell, boot_id, seq) JOIN {table} USING (cell, boot_id, seq)"
)
_LAST_SEQ_SQLITE = "SELECT last_seq FROM boot_counts WHERE cell = ? AND boot_id = ?"
_LAST_SEQS_POSTGRESQL = (
    "SELECT cell, boot_id, last_seq FROM unnest(%s::text[], %s::uuid[]) AS sent(cell, boot_id)"
    " JOIN boot_counts USING (cell, boot_id)"
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


class KnownFirst(NamedTuple):
    """The first joined result of a part that is there; they sort by time."""

    created_at: datetime
    boot_id: str
    seq: int
    verdict: str
    recipe_id: str
    row_id: int


class RecordDriver:
    """The statements in the words of SQLite, as its driver takes them fastest."""

    moment = staticmethod(plain_moment)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def last_seqs(self, boots: Iterable[Boot]) -> dict[Boot, int]:
        """Highest number that each boot's records have reached; one not heard of is left out."""
        found: dict[Boot, int] = {}
        for cell, boot in boots:
            values = cell, UUID(int=boot).hex
            found.update(
                ((cell, boot), seq)
                for (seq,) in self._connection.exec_driver_sql(_LAST_SEQ_SQLITE, values)
            )
        return found

    def known(self, table: str, keys: Iterable[RecordKey]) -> set[RecordKey]:
        """Which of these are rows of a table already."""
        boots: dict[Boot, list[int]] = defaultdict(list)
        for cell, boot, seq in keys:
            boots[cell, boot].append(seq)
        query = _KNOWN_SQLITE.format(table=table)
        found: set[RecordKey] = set()
        for (cell, boot), seqs in boots.items():
            values = cell, UUID(int=boot).hex, str(seqs)
            rows = self._connection.exec_driver_sql(query, values)
            found.update((cell, boot, seq) for (seq,) in rows)
        return found

    def firsts(self, pairs: Mapping[Pair, object]) -> dict[Pair, KnownFirst]:
        """The first results of these parts, of those that have one."""
        parts = _json_texts({part for part, _ in pairs})
        rows = self._connection.exec_driver_sql(_FIRSTS_SQLITE, (parts,))
        return {
            (part, cell): KnownFirst(
                _aware(at), str(UUID(boot_id)), seq, verdict, recipe_id, row_id
            )
            for row_id, part, cell, at, boot_id, seq, verdict, recipe_id in rows
            if (part, cell) in pairs
        }

    def take_back(self, rows: Sequence[int]) -> None:
        """Make results the first of their parts no longer."""
        if rows:
            statement = "UPDATE results SET is_first = 0 WHERE id = ?"
            self._connection.exec_driver_sql(statement, [(row,) for row in rows])

    def add(self, table: str, rows: list[Values]) -> None:
        """Insert rows, which are not there yet."""
        columns = RECORD_COLUMNS[table]
        insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "  # noqa: S608
        marks = f"({', '.join('?' * len(columns))})"
        # Many rows a statement: the driver lets go of the interpreter with each one, and the
        # network thread may keep it for milliseconds.
        whole = len(rows) - len(rows) % ROWS_AT_ONCE
        if whole:
            statement = insert + ", ".join([marks] * ROWS_AT_ONCE)
            for start in range(0, whole, ROWS_AT_ONCE):
                values = tuple(chain.from_iterable(rows[start : start + ROWS_AT_ONCE]))
                self._connection.exec_driver_sql(statement, values)
        if rows[whole:]:
            self._connection.exec_driver_sql(insert + marks, rows[whole:])

    def count_boots(self, arrivals: Iterable[RecordArrival]) -> None:
        """Count what was added of each boot's records."""
        statement = _BOOTS.format(marks="?, ?, ?, ?", larger="max")
        self._connection.exec_driver_sql(statement, self._boots(arrivals))

    def _boots(self, arrivals: Iterable[RecordArrival]) -> list[Values]:
        seqs: dict[Boot, list[int]] = defaultdict(list)
        for arrival in arrivals:
            event = arrival.event
            seqs[event.cell, event.boot_id.int].append(event.seq)
        return [
            (cell, UUID(int=boot).hex, len(found), max(found))
            for (cell, boot), found in sorted(seqs.items())
        ]


class _PostgresqlDriver(RecordDriver):
    """The same in the words of PostgreSQL, with COPY for the rows."""

    moment = staticmethod(zoned_moment)

    def last_seqs(self, boots: Iterable[Boot]) -> dict[Boot, int]:
        cells, numbers = zip(*boots, strict=True)
        values = list(cells), [UUID(int=number) for number in numbers]
        rows = self._connection.exec_driver_sql(_LAST_SEQS_POSTGRESQL, values)
        return {(cell, boot_id.int): seq for cell, boot_id, seq in rows}

    def known(self, table: str, keys: Iterable[RecordKey]) -> set[RecordKey]:
        cells, boots, seqs = zip(*keys, strict=True)
        values = list(cells), [UUID(int=boot) for boot in boots], list(seqs)
        query = _KNOWN_POSTGRESQL.format(table=table)
        rows = self._connection.exec_driver_sql(query, values)
        return {(cell, boot_id.int, seq) for cell, boot_id, seq in rows}

    def firsts(self, pairs: Mapping[Pair, object]) -> dict[Pair, KnownFirst]:
        parts = sorted({part for part, _ in pairs})
        rows = self._connection.exec_driver_sql(_FIRSTS_POSTGRESQL, (parts,))
        return {
            (part, cell): KnownFirst(at, str(boot_id), seq, verdict, recipe_id, row_id)
            for row_id, part, cell, at, boot_id, seq, verdict, recipe_id in rows
            if (part, cell) in pairs
        }

    def take_back(self, rows: Sequence[int]) -> None:
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

    def count_boots(self, arrivals: Iterable[RecordArrival]) -> None:
        statement = _BOOTS.format(marks="%s, %s, %s, %s", larger="greatest")
        self._connection.exec_driver_sql(statement, self._boots(arrivals))


def record_driver(connection: Connection) -> RecordDriver:
    """The driver of a connection's database."""
    return (RecordDriver if connection.dialect.name == "sqlite" else _PostgresqlDriver)(connection)


def _aware(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _json_texts(texts: Iterable[str]) -> str:
    return json.dumps(sorted(texts))

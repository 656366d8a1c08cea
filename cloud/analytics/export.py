"""From the database to the lake, day by day: only those in which something has changed.

What changed is told by the counts: a day's fingerprint is the hash of its tallies, so that a late
result, a truth or a label writes its day anew, and a run that was cut off goes on where it was.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from cloud.analytics.lake import SCHEMAS, Lake, LakeDay
from cloud.db.count_tables import Tally
from cloud.db.session import Database
from cloud.db.tables import Image, Result
from cloud.tallies import DAY_S
from cloud.tally_store import review_facts

BATCH_ROWS = 20_000
"""Rows in memory, and of a row group."""


@dataclass(slots=True)
class Exported:
    """What an export did."""

    written: int = 0
    unchanged: int = 0
    results: int = 0
    pictures: int = 0


def export_lake(database: Database, url: str, *, since: datetime | None = None) -> Exported:
    """Write the days that are not in the lake as they are in the database.

    Args:
        database: A read transaction a day is all that it needs; everything else goes on.
        url: The lake; made where it is not there.
        since: First day; None: all.

    Raises:
        ConfigurationError: fsspec does not know the URL.
        UnavailableError: the database cannot be read, or the lake not be written.
    """
    lake, done = Lake(url), Exported()
    known = lake.days()
    with database.read() as session:
        days = _days(session, since)
    for day in days:
        with database.read() as session:
            fingerprint = _fingerprint(session, day)
            if day in known and known[day].fingerprint == fingerprint:
                done.unchanged += 1
                continue
            written = _write_day(session, lake, day, fingerprint)
        lake.keep(written)
        done.written += 1
        done.results += written.rows["results"]
        done.pictures += written.rows["pictures"]
    return done


def _days(session: Session, since: datetime | None) -> list[date]:
    query = select(Tally.start_s).where(Tally.span_s == DAY_S).distinct().order_by(Tally.start_s)
    if since is not None:
        query = query.where(Tally.start_s >= int(since.timestamp()))
    return [datetime.fromtimestamp(start_s, UTC).date() for start_s in session.scalars(query)]


def _bounds(day: date) -> tuple[datetime, datetime]:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return start, start + timedelta(days=1)


def _fingerprint(session: Session, day: date) -> str:
    start, _ = _bounds(day)
    columns = Tally.kind, Tally.cell, Tally.recipe_id, Tally.name, Tally.detail, Tally.n
    query = select(*columns).where(
        Tally.span_s == DAY_S, Tally.start_s == int(start.timestamp()), Tally.n != 0
    )
    text = "\n".join(sorted(repr(tuple(row)) for row in session.execute(query)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write_day(session: Session, lake: Lake, day: date, fingerprint: str) -> LakeDay:
    readers = {"results": _results(session, day), "pictures": _pictures(session, day)}
    files, rows = {}, {}
    for table, batches in readers.items():
        files[table] = f"{table}/day={day}/{fingerprint}.parquet"
        rows[table] = 0
        schema = SCHEMAS[table]
        with lake.open_part(files[table]) as stream, pq.ParquetWriter(stream, schema) as writer:
            for batch in batches:
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                rows[table] += len(batch)
    return LakeDay(day, fingerprint, files, rows)


def _results(session: Session, day: date) -> Iterator[list[dict[str, Any]]]:
    start, end = _bounds(day)
    names = list(SCHEMAS["results"].names)
    columns = [getattr(Result, name) for name in names]
    query = select(*columns).where(Result.created_at >= start, Result.created_at < end)
    for rows in _batches(session, query):
        yield [_plain(dict(zip(names, row, strict=True))) for row in rows]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return row | {
        "boot_id": str(row["boot_id"]),
        "result_id": str(row["result_id"]),
        "verdict": row["verdict"].value,
    }


def _pictures(session: Session, day: date) -> Iterator[list[dict[str, Any]]]:
    start, end = _bounds(day)
    query = select(Image).where(Image.created_at >= start, Image.created_at < end)
    for rows in _batches(session, query):
        batch = []
        for (image,) in rows:
            facts = review_facts(session, image)
            batch.append(
                {
                    "sha256": image.sha256,
                    "cell": image.cell,
                    "created_at": image.created_at,
                    "result_id": str(image.result_id),
                    "part_id": image.part_id,
                    "hard_reasons": list(image.hard_reasons),
                    "status": image.status.value,
                    "verdict": facts.verdict.value if facts.verdict else None,
                    "is_bad": facts.is_bad,
                }
            )
        yield batch


def _batches(session: Session, query: Select[Any]) -> Iterator[Sequence[Any]]:
    result = session.execute(query.execution_options(yield_per=BATCH_ROWS))
    yield from result.partitions()

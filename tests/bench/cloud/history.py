"""The made-up history: kept from one run to the next, grown in steps that can be interrupted."""

import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

from cloud.db.migration import migrate
from cloud.db.session import Database

from .figures import say
from .seeding import drop_indexes, fill, finish
from .servers import database_of, new_database

NAME = "history"
STEP = 2_000_000
"""Results of one transaction: what an interruption loses."""


@dataclass(frozen=True)
class History:
    """What there is by now."""

    url: str
    num_results: int
    newest: datetime
    is_ready: bool
    """Whether indexes and counts are made."""
    seconds: float
    """What making it took, in all."""


def keep_history(server: str, *, size: int, is_fresh: bool = False) -> History:
    """Grow the history to ``size`` results, or begin anew; one that is larger stays as it is."""
    url = new_database(server, NAME) if is_fresh else database_of(server, NAME)
    with closing(Database(url)) as database:
        migrate(database)
        with database.engine.begin() as connection:
            history = _begin(connection, url)
        while history.num_results < size:
            high = min(size, history.num_results + STEP)
            say(f"history: results {history.num_results:,} to {high:,} of {size:,}")
            with database.engine.begin() as connection:
                started = time.monotonic()
                drop_indexes(connection)
                fill(connection, low=history.num_results, high=high, newest=history.newest)
                history = _note(connection, url, high, False, time.monotonic() - started)
        if not history.is_ready:
            say("history: indexes and counts")
            with database.engine.begin() as connection:
                started = time.monotonic()
                finish(connection)
                history = _note(
                    connection, url, history.num_results, True, time.monotonic() - started
                )
            with database.engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT")
                connection.exec_driver_sql("VACUUM ANALYZE")
    return history


def _begin(connection: Connection, url: str) -> History:
    connection.exec_driver_sql(
        "CREATE TABLE IF NOT EXISTS bench_history (num_results bigint, newest timestamptz,"
        " is_ready boolean, seconds double precision)"
    )
    found = _read(connection, url)
    if found is None:
        newest = datetime.now(UTC) - timedelta(seconds=30)
        connection.execute(
            text("INSERT INTO bench_history VALUES (0, :newest, false, 0)"), {"newest": newest}
        )
        found = History(url, 0, newest, False, 0.0)
    return found


def _note(
    connection: Connection, url: str, num_results: int, is_ready: bool, seconds: float
) -> History:
    connection.execute(
        text(
            "UPDATE bench_history SET num_results = :num, is_ready = :ready,"
            " seconds = seconds + :seconds"
        ),
        {"num": num_results, "ready": is_ready, "seconds": seconds},
    )
    found = _read(connection, url)
    assert found is not None
    return found


def _read(connection: Connection, url: str) -> History | None:
    row = connection.execute(
        text("SELECT num_results, newest, is_ready, seconds FROM bench_history")
    ).one_or_none()
    return History(url, *row) if row is not None else None

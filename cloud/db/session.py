"""The database as the rest of the cloud sees it: read and write transactions."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker

from cloud.errors import ConfigurationError, StorageFullError, UnavailableError

BUSY_TIMEOUT_MS = 15_000
# Beyond this a caller gives up; a pool that is empty that long has a stuck transaction.
POOL_TIMEOUT_S = 15.0
_FULL = ("database or disk is full", "no space left on device", "could not extend file")


class Database:
    """Engine and transactions on SQLite or PostgreSQL.

    On SQLite a write transaction takes the write lock when it begins: one that started as a
    reader could not wait for the lock, but would fail at once.
    """

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        """Make the engine; nothing is connected yet.

        Raises:
            ConfigurationError: the URL is of no database that Sightline knows.
        """
        try:
            parsed = make_url(url)
        except ArgumentError as error:
            raise ConfigurationError("database.url is not a database URL") from error
        self.backend = parsed.get_backend_name()
        if self.backend not in {"sqlite", "postgresql"}:
            raise ConfigurationError(
                f"database.url: {self.backend} is not supported, use sqlite or postgresql+psycopg"
            )
        self.url = parsed
        if self.backend == "postgresql" and parsed.drivername != "postgresql+psycopg":
            self.url = parsed.set(drivername="postgresql+psycopg")
        if self.is_sqlite and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        self.engine = create_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=POOL_TIMEOUT_S,
            pool_pre_ping=not self.is_sqlite,
            connect_args=self._connect_args(),
        )
        if self.is_sqlite:
            _prepare_sqlite(self.engine)
        self._readers = sessionmaker(self.engine, expire_on_commit=False)
        self._writers = sessionmaker(
            self.engine.execution_options(begin_immediate=True), expire_on_commit=False
        )

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite, the default, rather than PostgreSQL."""
        return self.backend == "sqlite"

    def _connect_args(self) -> dict[str, Any]:
        if self.is_sqlite:
            return {"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False}
        return {"connect_timeout": 5, "application_name": "sightline"}

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that only reads.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        with _translated(), self._readers() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that commits at the end, or undoes everything when an error leaves it.

        Raises:
            StorageFullError: there is no room for the rows.
            UnavailableError: the database cannot be reached or stays locked.
        """
        with _translated(), self._writers.begin() as session:
            yield session

    def ping(self) -> None:
        """Ask the database anything.

        Raises:
            UnavailableError: it does not answer.
        """
        with self.read() as session:
            session.execute(text("SELECT 1"))

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except PoolTimeoutError as error:
        raise UnavailableError("every database connection is busy") from error
    except DBAPIError as error:
        cause = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else "no cause"
        if any(phrase in cause.lower() for phrase in _FULL):
            raise StorageFullError(f"the database is full: {cause}") from error
        if error.connection_invalidated or isinstance(error, OperationalError | InterfaceError):
            raise UnavailableError(f"the database cannot be used: {cause}") from error
        raise


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
        # SQLAlchemy's "begin" below starts transactions, not the driver.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        # A commit is acknowledged to the cell, which then forgets the row: it must survive a
        # power cut. In batches FULL costs nothing over NORMAL.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        is_write = connection.get_execution_options().get("begin_immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")

"""The outbox's SQLite file: one connection behind one lock, and when what reaches the disk."""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_agent.errors import StorageError
from edge_agent.outbox_rows import SCHEMA

BUSY_TIMEOUT_S = 10.0
PAGES_A_COMMIT = 6
"""Index and counter pages that each commit writes again, beside those of its rows."""
TIDY_PAGES = 1_000
MAX_WAL_PAGES = 8_000
"""From here on SQLite moves them by itself, in the middle of a commit."""


class OutboxFile:
    """Transactions, and the moving of what they wrote from the log (WAL) into the file.

    SQLite would do the latter in the middle of a commit, with two syncs and some megabytes that
    a verdict's own sync then waits behind. Here it is done by `tidy`, between two parts.

    Raises:
        sqlite3.Error: the file cannot be used.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self.lock = threading.RLock()
        self._path = path
        self._num_pages = 0
        self._tidying = threading.Lock()
        self._mover: sqlite3.Connection | None = None
        self._db = self._connect()
        self._max_bytes = max_bytes

    def prepare(self) -> None:
        """Lay out the tables.

        Raises:
            sqlite3.Error: the disk does not allow it.
        """
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(f"PRAGMA wal_autocheckpoint = {MAX_WAL_PAGES}")
        self._db.execute(f"PRAGMA journal_size_limit = {4 * 2**20}")
        page_bytes = self._db.execute("PRAGMA page_size").fetchone()[0]
        # On a full disk DELETE fails like INSERT, and the outbox could never drain itself.
        # A file capped below the disk's size still lets rows go.
        max_pages = max(self._max_bytes // page_bytes, 32)
        self._db.execute(f"PRAGMA max_page_count = {max_pages:d}")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        """Let go of the file."""
        with self._tidying, self.lock:
            if self._mover is not None:
                self._mover.close()
            self._db.close()

    def execute(self, sql: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        """Run one statement; call it with the lock held."""
        return self._db.execute(sql, values)

    def executemany(self, sql: str, values: list[tuple[object, ...]]) -> None:
        """Run one statement for several rows; call it with the lock held."""
        self._db.executemany(sql, values)

    @property
    def in_transaction(self) -> bool:
        """Whether a change is open; call it with the lock held."""
        return self._db.in_transaction

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block, or nothing of it.

        Raises:
            StorageError: the disk does not take it.
        """
        with self.lock:
            before = self._db.total_changes
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise StorageError(f"outbox: {error}") from error
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._num_pages += PAGES_A_COMMIT + self._db.total_changes - before

    @contextlib.contextmanager
    def without_sync(self) -> Iterator[None]:
        """For letting go: what a power cut brings back is sent once more, and the cloud knows it.

        A sync for each acknowledgement of a draining backlog would keep the disk from the journal,
        and a verdict waits for that.
        """
        with self.lock:
            self._db.execute("PRAGMA synchronous = NORMAL")
            try:
                yield
            finally:
                self._db.execute("PRAGMA synchronous = FULL")

    def tidy(self, before: Callable[[], None]) -> None:
        """Move what was written into the file if that has become much.

        Args:
            before: called first; waits for a pause of the line. Takes no part of the lock, so that
                others append and read meanwhile.
        """
        if self._num_pages < TIDY_PAGES or not self._tidying.acquire(blocking=False):
            return
        try:
            before()
            if self._mover is None:
                self._mover = self._connect()
            self._num_pages = 0
            self._mover.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error:
            return  # a full disk; SQLite's own limit, and its errors, come later
        finally:
            self._tidying.release()

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )

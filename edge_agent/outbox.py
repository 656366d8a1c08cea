"""What the cell has to tell the cloud, kept on disk until the cloud has it in its database.

Two streams, each counted by its own sequence: *records* are never dropped, *images* are thinned
when they fill their share of the disk. A row leaves only when the cloud acknowledges it
(`IngestAck`), never on the broker's PUBACK, which is no promise that anything was stored.

Wiring: one `SqliteOutbox` a process, shared by the recorder (appends) and the uplink (reads,
settles)::

    outbox = SqliteOutbox(folder, cell=address, boot_id=boot_id, limits=OutboxLimits())
    uplink = MqttUplink(outbox=outbox, …)
    outbox.on_append = uplink.wake
"""

import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from edge_agent.ballast import Ballast
from edge_agent.blob_folder import BlobFolder
from edge_agent.errors import StorageError
from edge_agent.outbox_file import OutboxFile
from edge_agent.outbox_rows import OutboxCounts, OutboxLimits, OutboxRow, RowKey, runs_of
from edge_agent.ports import Picture, RecordBody
from models.contract.messages import Event, ImageHeader, IngestAck, Inspection, Refusal, Stream
from models.contract.topics import CellAddress

MAX_QUARANTINED = 1_000
MAX_REMEMBERED_RESULTS = 256
MAX_STRIDE = 64
T = TypeVar("T")


class SqliteOutbox:
    """Rows of this boot and of earlier ones in SQLite; pictures beside it as files.

    Safe to use from several threads: one connection behind one lock. Commits are synced, so what
    ``append_record`` returned for survives SIGKILL and a power cut.

    Raises:
        StorageError: the folder cannot be used, or its file is damaged.
    """

    def __init__(
        self,
        folder: Path,
        *,
        cell: CellAddress,
        boot_id: UUID,
        limits: OutboxLimits | None = None,
    ) -> None:
        self.on_append: Callable[[], None] = lambda: None
        self.on_reserve: Callable[[bool], None] = lambda _is_there: None
        """Told when the reserve for a full disk was used, and when it is there again."""
        self.before_tidying: Callable[[], None] = lambda: None
        """Waits for a pause of the line: some 50 ms of work for the disk are due."""
        self._cell = str(cell)
        self._boot_id = boot_id
        self._limits = limits or OutboxLimits()
        self._folder = folder
        self._stride = 1
        self._num_offered = 0
        self._num_dropped = 0
        self._freed: set[str] = set()  # pictures whose last row may be gone
        self._ballast = Ballast(folder / "ballast", self._limits.ballast_bytes)
        try:
            self._blobs = BlobFolder(folder / "images")
            self._file = OutboxFile(
                folder / "outbox.sqlite3", max_bytes=self._limits.database_bytes
            )
            self._lock = self._file.lock
            try:
                self._file.prepare()
            except sqlite3.OperationalError:
                if not self._ballast.release():
                    raise
                self._file.prepare()
            self._count_what_waits()
            self._ballast.restore()
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"outbox {folder} cannot be used: {error}") from error

    def _count_what_waits(self) -> None:
        counts = dict(self._file.execute("SELECT stream, count(*) FROM pending GROUP BY stream"))
        self._counts = {stream: int(counts.get(stream, 0)) for stream in Stream}
        self._image_bytes = self._sum_image_bytes()
        wanted = {row[0] for row in self._file.execute("SELECT sha256 FROM pending")}
        self._blobs.keep_only(wanted)

    def close(self) -> None:
        """Let go of the file; the rows stay."""
        self._file.close()

    # --- appending ---------------------------------------------------------------------------

    def append_record(self, body: RecordBody, *, created_at: datetime) -> int:
        """Store a record; when this returns it survives the death of the process.

        Raises:
            StorageError: the disk does not take it.
        """
        seq = self._with_reserve(lambda: self._append_record(body, created_at))
        self.on_append()
        return seq

    def append_records(self, records: Sequence[tuple[RecordBody, datetime]]) -> None:
        """Store several in one commit: all of them, or none.

        Args:
            records: each with the time at which it came to be.

        Raises:
            StorageError: the disk does not take them.
        """

        def change() -> None:
            with self._transaction():
                for body, created_at in records:
                    self._append_record(body, created_at)

        self._with_reserve(change)
        self.on_append()
        self._file.tidy(self.before_tidying)

    def _append_record(self, body: RecordBody, created_at: datetime) -> int:
        with self._transaction():
            seq = self._next_seq(Stream.RECORDS)
            event = Event(
                cell=self._cell, boot_id=self._boot_id, seq=seq, created_at=created_at, body=body
            )
            self._insert(Stream.RECORDS, seq, event.to_bytes())
            if isinstance(body, Inspection):
                self._remember(body.result_id)
        return seq

    def _with_reserve(self, change: Callable[[], T]) -> T:
        """Make a change that must not fail for want of space, on the reserve if need be."""
        with self._lock:
            try:
                return change()
            except StorageError:
                if not self._ballast.release():
                    raise
                self.on_reserve(False)
                return change()

    def append_image(self, picture: Picture) -> int | None:
        """Store a picture, or leave it out and count it when the images stream is full.

        Raises:
            StorageError: the disk does not take it.
        """
        with self._lock:
            if not self._admits(len(picture.data)):
                self._num_dropped += 1
                return None
            self._blobs.write(picture.sha256, picture.data)
            with self._transaction():
                seq = self._next_seq(Stream.IMAGES)
                header = self._header(picture, seq)
                self._insert(
                    Stream.IMAGES, seq, header.to_bytes(), picture.sha256, len(picture.data)
                )
        self.on_append()
        return seq

    def contains_result(self, result_id: UUID) -> bool:
        """Whether an inspection of that result was stored here lately, sent or not."""
        with self._lock:
            found = self._file.execute(
                "SELECT 1 FROM recent_results WHERE result_id = ?", (str(result_id),)
            )
            return found.fetchone() is not None

    def _header(self, picture: Picture, seq: int) -> ImageHeader:
        return ImageHeader.model_validate(
            {
                "cell": self._cell,
                "boot_id": self._boot_id,
                "seq": seq,
                "created_at": picture.created_at,
                "result_id": picture.result_id,
                "part_id": picture.part_id,
                "view": picture.view,
                "sha256": picture.sha256,
                "content_type": picture.content_type,
                "width_px": picture.width_px,
                "height_px": picture.height_px,
                "hard_reasons": picture.hard_reasons,
            }
        )

    def _next_seq(self, stream: Stream) -> int:
        row = self._file.execute(
            "INSERT INTO sequences VALUES (?, ?, 1) ON CONFLICT DO UPDATE "
            "SET last_seq = last_seq + 1 RETURNING last_seq",
            (stream, str(self._boot_id)),
        ).fetchone()
        return int(row[0])

    def _insert(
        self, stream: Stream, seq: int, body: bytes, sha256: str | None = None, num_bytes: int = 0
    ) -> None:
        self._file.execute(
            "INSERT INTO pending (stream, boot_id, seq, body, sha256, num_bytes) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (stream, str(self._boot_id), seq, body, sha256, num_bytes),
        )
        self._counts[stream] += 1
        self._image_bytes += num_bytes

    def _remember(self, result_id: UUID) -> None:
        row_id = self._file.execute(
            "INSERT OR IGNORE INTO recent_results (result_id) VALUES (?)", (str(result_id),)
        ).lastrowid
        if (row_id or 0) % MAX_REMEMBERED_RESULTS == 0:
            self._file.execute(
                "DELETE FROM recent_results WHERE row_id <= ?",
                ((row_id or 0) - MAX_REMEMBERED_RESULTS,),
            )

    # --- what to do when pictures fill their share -------------------------------------------

    def _admits(self, num_bytes: int) -> bool:
        # Dropping the oldest would lose the beginning of a fault, refusing the newest its end.
        # Thinning keeps pictures of the whole time: every second waiting one goes, and from
        # then on only every second (fourth, …) new one is taken until half the share is free.
        self._num_offered += 1
        if self._image_bytes <= self._limits.image_bytes // 2:
            self._stride = 1
        if self._num_offered % self._stride:
            return False
        if shutil.disk_usage(self._folder).free < self._limits.free_disk_bytes:
            return False
        if self._image_bytes + num_bytes > self._limits.image_bytes:
            self._thin()
        return self._image_bytes + num_bytes <= self._limits.image_bytes

    def _thin(self) -> None:
        self._stride = min(self._stride * 2, MAX_STRIDE)
        waiting = self.read(Stream.IMAGES, limit=self._counts[Stream.IMAGES])
        self._num_dropped += self._delete(row.key for row in waiting[1::2])

    # --- sending -----------------------------------------------------------------------------

    def read(
        self, stream: Stream, *, after: int = 0, until: int | None = None, limit: int = 100
    ) -> list[OutboxRow]:
        """Rows of a stream in the order of their appending, of whatever boot.

        Args:
            stream: which of the two.
            after: only rows with a larger ``row_id``.
            until: only rows up to this ``row_id``.
            limit: at most so many.
        """
        with self._lock:
            rows = self._file.execute(
                "SELECT row_id, boot_id, seq, body, sha256, num_bytes FROM pending "
                "WHERE stream = ? AND row_id > ? AND row_id <= ? ORDER BY row_id LIMIT ?",
                (stream, after, 2**62 if until is None else until, limit),
            ).fetchall()
        return [OutboxRow(row[0], stream, UUID(row[1]), *row[2:]) for row in rows]

    def picture(self, row: OutboxRow) -> bytes:
        """Bytes of a waiting picture.

        Raises:
            StorageError: the file is gone or is not what was written (a power cut).
        """
        return self._blobs.read(row.sha256 or "")

    def newest_row_id(self) -> int:
        """The largest ``row_id`` given so far."""
        with self._lock:
            row = self._file.execute("SELECT seq FROM sqlite_sequence WHERE name = 'pending'")
            return int((row.fetchone() or (0,))[0])

    def settle(self, *acks: IngestAck) -> int:
        """Let go of what the cloud has, and set aside what it can never take; one commit.

        Returns:
            How many rows left; an acknowledgement that comes twice finds none.

        Raises:
            StorageError: the disk does not take the change; the rows will be sent again.
        """
        num_settled = self._with_reserve(lambda: self._settle(acks))
        if not self._ballast.is_there:
            self._lay_by()
        self._file.tidy(self.before_tidying)
        return num_settled

    def _settle(self, acks: tuple[IngestAck, ...]) -> int:
        with self._file.without_sync(), self._transaction():
            for ack in acks:
                self._quarantine(ack.stream, ack.boot_id, ack.refused)
            return self._delete((ack.stream, ack.boot_id, seq) for ack in acks for seq in ack.seqs)

    def _lay_by(self) -> None:
        with self._lock:
            if self._limits.ballast_bytes and self._ballast.restore():
                self.on_reserve(True)

    def _quarantine(self, stream: Stream, boot_id: UUID, refused: Iterable[Refusal]) -> None:
        # For a person to look at; only the newest are kept.
        refused = tuple(refused)
        if not refused:
            return
        with self._transaction():
            self._file.executemany(
                "INSERT INTO quarantine (stream, boot_id, seq, body, cause) "
                "SELECT stream, boot_id, seq, body, ? FROM pending "
                "WHERE stream = ? AND boot_id = ? AND seq = ?",
                [(refusal.cause, stream, str(boot_id), refusal.seq) for refusal in refused],
            )
            self._file.execute(
                "DELETE FROM quarantine WHERE row_id <= (SELECT max(row_id) FROM quarantine) - ?",
                (MAX_QUARANTINED,),
            )
            self._delete((stream, boot_id, refusal.seq) for refusal in refused)

    def _delete(self, keys: Iterable[RowKey]) -> int:
        num_deleted = 0
        with self._transaction():
            for stream, boot_id, first, last in runs_of(keys):
                gone = self._file.execute(
                    "DELETE FROM pending WHERE stream = ? AND boot_id = ? AND seq BETWEEN ? AND ? "
                    "RETURNING sha256, num_bytes",
                    (stream, str(boot_id), first, last),
                ).fetchall()
                for sha256, num_bytes in gone:
                    num_deleted += 1
                    self._counts[stream] -= 1
                    self._image_bytes -= num_bytes
                    self._freed.update([sha256] if sha256 else [])
        return num_deleted

    def _remove_freed(self) -> None:
        freed, self._freed = self._freed, set()
        self._blobs.remove(sha256 for sha256 in freed if not self._is_wanted(sha256))

    def _is_wanted(self, sha256: str) -> bool:
        found = self._file.execute("SELECT 1 FROM pending WHERE sha256 = ? LIMIT 1", (sha256,))
        return found.fetchone() is not None

    # --- counting ----------------------------------------------------------------------------

    def num_records(self) -> int:
        """Records that wait."""
        return self._counts[Stream.RECORDS]

    def num_images(self) -> int:
        """Pictures that wait."""
        return self._counts[Stream.IMAGES]

    def counts(self) -> OutboxCounts:
        """Everything that a gauge or a report wants to know."""
        with self._lock:
            (quarantined,) = self._file.execute("SELECT count(*) FROM quarantine").fetchone()
            return OutboxCounts(
                records=self._counts[Stream.RECORDS],
                images=self._counts[Stream.IMAGES],
                image_bytes=self._image_bytes,
                images_dropped=self._num_dropped,
                quarantined=quarantined,
                has_ballast=self._ballast.is_there or self._limits.ballast_bytes == 0,
            )

    def _sum_image_bytes(self) -> int:
        total = self._file.execute("SELECT coalesce(sum(num_bytes), 0) FROM pending").fetchone()
        return int(total[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            if self._file.in_transaction:  # part of a larger one
                yield
                return
            counts, image_bytes = dict(self._counts), self._image_bytes
            try:
                with self._file.transaction():
                    yield
            except BaseException:
                self._counts, self._image_bytes, self._freed = counts, image_bytes, set()
                raise
            self._remove_freed()

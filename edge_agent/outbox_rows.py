"""What the outbox is made of: its tables, its rows and its limits."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

from models.contract.messages import Stream

RowKey = tuple[Stream, UUID, int]

# AUTOINCREMENT: without it SQLite gives the id of a deleted last row to the next one, which the
# uplink's cursor has already passed.
SCHEMA = """
CREATE TABLE IF NOT EXISTS pending (
    row_id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    body BLOB NOT NULL,
    sha256 TEXT,
    num_bytes INTEGER NOT NULL DEFAULT 0,
    UNIQUE (stream, boot_id, seq)
);
CREATE INDEX IF NOT EXISTS pending_by_stream ON pending (stream, row_id);
CREATE INDEX IF NOT EXISTS pending_by_blob ON pending (sha256) WHERE sha256 IS NOT NULL;
CREATE TABLE IF NOT EXISTS sequences (
    stream TEXT NOT NULL, boot_id TEXT NOT NULL, last_seq INTEGER NOT NULL,
    PRIMARY KEY (stream, boot_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS quarantine (
    row_id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream TEXT NOT NULL, boot_id TEXT NOT NULL, seq INTEGER NOT NULL,
    body BLOB NOT NULL, cause TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS recent_results (
    row_id INTEGER PRIMARY KEY AUTOINCREMENT, result_id TEXT NOT NULL UNIQUE
);
"""


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """Shares of the disk.

    Attributes:
        database_bytes: size that the database never grows beyond.
        image_bytes: encoded pictures that may wait at once.
        free_disk_bytes: no picture is taken in when the disk has less than this left.
        ballast_bytes: kept in reserve for records when others have filled the disk.
    """

    database_bytes: int = 512 * 2**20
    image_bytes: int = 2 * 2**30
    free_disk_bytes: int = 256 * 2**20
    ballast_bytes: int = 0


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One row that waits for its acknowledgement; ``row_id`` rises with every append."""

    row_id: int
    stream: Stream
    boot_id: UUID
    seq: int
    body: bytes
    """The event's or the image header's bytes, as they go over the wire."""
    sha256: str | None
    num_bytes: int

    @property
    def key(self) -> RowKey:
        """Identity at the cloud."""
        return self.stream, self.boot_id, self.seq


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """How full the outbox is; drops are counted since the process started."""

    records: int
    images: int
    image_bytes: int
    images_dropped: int
    quarantined: int
    has_ballast: bool = True


def runs_of(keys: Iterable[RowKey]) -> Iterator[tuple[Stream, UUID, int, int]]:
    """Keys as stretches without a gap: stream, boot, first and last number.

    A backlog leaves in the order that it came in: one statement for a hundred rows.
    """
    run: tuple[Stream, UUID, int, int] | None = None
    for stream, boot_id, seq in sorted(set(keys), key=lambda key: (key[0], key[1].int, key[2])):
        if run is not None and run[:2] == (stream, boot_id) and run[3] + 1 == seq:
            run = (stream, boot_id, run[2], seq)
        else:
            if run is not None:
                yield run
            run = (stream, boot_id, seq, seq)
    if run is not None:
        yield run

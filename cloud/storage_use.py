"""What takes up room: pictures by kind, the database, and what is left on the disk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select, text

from cloud.db.session import Database
from cloud.db.tables import DeadLetter, ReviewStatus
from cloud.image_store import ImageStore
from cloud.statistics import Window
from cloud.tallies import TallyKind
from cloud.tally_queries import Sums, sum_tallies

MAX_COUNTED = 100_000


@dataclass(frozen=True, slots=True)
class PictureUse:
    """Pictures of one review status."""

    status: ReviewStatus
    count: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class StorageUse:
    """Everything that grows."""

    pictures: Sequence[PictureUse]
    database_bytes: int
    free_bytes: int | None
    """Room on the disk of the pictures; None: the storage is remote."""
    dead_letters: int
    """At most `MAX_COUNTED`."""


def read_storage_use(database: Database, images: ImageStore) -> StorageUse:
    """Sum it up.

    Raises:
        UnavailableError: the database cannot be read.
    """
    some = select(DeadLetter.id).limit(MAX_COUNTED).subquery()
    with database.read() as session:
        sums = sum_tallies(session, Window(), [TallyKind.REVIEW, TallyKind.BYTES])
        letters = session.scalar(select(func.count()).select_from(some)) or 0
        if database.is_sqlite:
            path = Path(str(database.url.database))
            database_bytes = sum(
                part.stat().st_size for part in path.parent.glob(f"{path.name}*") if part.is_file()
            )
        else:
            size = session.scalar(text("SELECT pg_database_size(current_database())"))
            database_bytes = int(size or 0)
    return StorageUse(
        pictures=sorted(_pictures(sums), key=lambda use: -use.num_bytes),
        database_bytes=database_bytes,
        free_bytes=images.free_bytes() if images.is_local else None,
        dead_letters=letters,
    )


def _pictures(sums: Sums) -> Iterator[PictureUse]:
    for status in ReviewStatus:
        if count := sums[TallyKind.REVIEW, status, ""]:
            yield PictureUse(status, count, sums[TallyKind.BYTES, status, ""])

"""What is dropped after how long: rows and pictures, a few at a time, while everything goes on.

Figures stay, since they are read from the counts (`cloud.tallies`): only the rows behind them go,
and with them the ragged ends of windows that lie that far back. Labelled pictures are what models
are made of; the audit log is never touched. Each round that dropped something stands in it.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    and_,
    cast,
    delete,
    func,
    literal,
    not_,
    or_,
    select,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from cloud import audit
from cloud.db.count_tables import HardMark
from cloud.db.review_tables import Likeness
from cloud.db.session import Database
from cloud.db.tables import (
    Annotation,
    DeadLetter,
    Finding,
    Image,
    Result,
    ReviewStatus,
    StationLogEntry,
    Truth,
)
from cloud.errors import CloudError
from cloud.image_store import ImageStore
from cloud.settings import RetentionSettings
from cloud.tallies import Tallies, of_picture
from cloud.tally_store import add_tallies, review_facts
from models.contract.messages import HardReason

LOGGER = logging.getLogger(__name__)
BATCH = 1_000
"""Rows of one transaction: ingest waits for no longer than that takes."""
MAX_COUNTED = 100_000
"""More rows than these are told as these: nobody waits for a page that counts years."""


@dataclass(slots=True)
class Dropped:
    """What a round of retention dropped, or would drop."""

    results: int = 0
    truths: int = 0
    station_events: int = 0
    dead_letters: int = 0
    pictures: int = 0
    picture_bytes: int = 0


class Retention:
    """Drops what is older than the settings say.

    Args:
        database: Holds the rows.
        images: Holds the pictures.
        settings: How long each kind is kept.
        now: The wall clock.
    """

    def __init__(
        self,
        database: Database,
        images: ImageStore,
        settings: RetentionSettings,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._images = images
        self._settings = settings
        self._now = now

    def run(self, *, actor: str = audit.SYSTEM, stopping: threading.Event | None = None) -> Dropped:
        """Drop everything that is due; stopping in between leaves the rest for the next round.

        Raises:
            UnavailableError: database or picture storage cannot be used; what was dropped is
                dropped.
        """
        dropped, stopping = Dropped(), stopping or threading.Event()
        try:
            for name, model, moment, cutoff in self._due():
                while not stopping.is_set() and (count := self._drop_rows(model, moment, cutoff)):
                    setattr(dropped, name, getattr(dropped, name) + count)
            for _, condition in self._due_pictures():
                while not stopping.is_set() and self._drop_pictures(condition, dropped):
                    pass
        finally:
            if any(asdict(dropped).values()):
                LOGGER.info("retention dropped", extra=asdict(dropped))
                with self._database.write() as session:
                    audit.record(session, actor, "apply retention", "all", **asdict(dropped))
        return dropped

    def due(self) -> dict[str, int]:
        """How much a round would drop, by the name of the setting; no more than `MAX_COUNTED`.

        Raises:
            UnavailableError: the database cannot be read.
        """
        found: Counter[str] = Counter()
        with self._database.read() as session:
            for name, _, moment, cutoff in self._due():
                setting = "results_days" if name == "truths" else f"{name}_days"
                found[setting] += _count(session, moment < cutoff)
            for name, condition in self._due_pictures():
                found[name] += _count(session, condition)
        return dict(found)

    def _cutoff(self, days: float) -> datetime:
        return self._now() - timedelta(days=days)

    def _due(self) -> Iterator[tuple[str, Any, InstrumentedAttribute[datetime], datetime]]:
        settings = self._settings
        if settings.results_days:
            cutoff = self._cutoff(settings.results_days)
            yield "results", Result, Result.created_at, cutoff
            yield "truths", Truth, Truth.created_at, cutoff
        if settings.station_events_days:
            cutoff = self._cutoff(settings.station_events_days)
            yield "station_events", StationLogEntry, StationLogEntry.created_at, cutoff
        if settings.dead_letters_days:
            cutoff = self._cutoff(settings.dead_letters_days)
            yield "dead_letters", DeadLetter, DeadLetter.received_at, cutoff

    def _due_pictures(self) -> Iterator[tuple[str, ColumnElement[bool]]]:
        settings = self._settings
        is_audit = cast(Image.hard_reasons, Text) == f'["{HardReason.AUDIT}"]'
        waits = Image.status.not_in([ReviewStatus.LABELLED, ReviewStatus.REJECTED])
        for name, days, kind in (
            ("labelled_days", settings.labelled_days, Image.status == ReviewStatus.LABELLED),
            ("rejected_days", settings.rejected_days, Image.status == ReviewStatus.REJECTED),
            ("audit_days", settings.audit_days, and_(waits, is_audit)),
            ("pending_days", settings.pending_days, and_(waits, not_(is_audit))),
        ):
            if days:
                yield name, and_(kind, Image.created_at < self._cutoff(days))

    def _drop_rows(
        self, model: type[Any], moment: InstrumentedAttribute[datetime], cutoff: datetime
    ) -> int:
        """Drop the oldest; gives how many went."""
        keys = tuple(model.__table__.primary_key.columns)
        due: Select[Any] = select(model).where(moment < cutoff).order_by(moment).limit(BATCH)
        with self._database.write() as session:
            rows = session.scalars(due).all()
            if model is Result:
                _drop_details(session, rows)
            # Each by its whole key: SQLite takes no list of rows.
            wanted = [and_(*(key == getattr(row, key.key) for key in keys)) for row in rows]
            for start in range(0, len(wanted), 200):
                session.execute(delete(model).where(or_(*wanted[start : start + 200])))
        return len(rows)

    def _drop_pictures(self, condition: ColumnElement[bool], dropped: Dropped) -> bool:
        """Drop some pictures: the rows first, so that no row is left without its picture."""
        with self._database.write() as session:
            due = select(Image).where(condition).order_by(Image.created_at).limit(BATCH // 10)
            images = session.scalars(due.with_for_update(skip_locked=True)).all()
            hashes = [image.sha256 for image in images]
            tallies = Tallies()
            for image in images:
                tallies.subtract(_standing(session, image))
            for model, column in (
                (Annotation, Annotation.image_sha256),
                (Likeness, Likeness.image_sha256),
                (Image, Image.sha256),
            ):
                session.execute(delete(model).where(column.in_(hashes)))
            add_tallies(session, tallies)
        for image in images:
            self._images.remove(image.sha256)
            dropped.pictures += 1
            dropped.picture_bytes += image.num_bytes
        return bool(images)


def _count(session: Session, condition: ColumnElement[bool]) -> int:
    some = select(literal(1)).where(condition).limit(MAX_COUNTED).subquery()
    return session.scalar(select(func.count()).select_from(some)) or 0


def _standing(session: Session, image: Image) -> Tallies:
    """What a dropped picture no longer counts as: it neither waits nor takes room.

    What was learned from it, escapes and false rejects and why it was kept, stays counted.
    """
    found = of_picture(review_facts(session, image))
    return Tallies({key: n for key, n in found.items() if key.kind in {"review", "bytes"}})


def _drop_details(session: Session, results: Sequence[Result]) -> None:
    keys = {(row.cell, row.boot_id) for row in results}
    for cell, boot_id in keys:
        seqs = [row.seq for row in results if (row.cell, row.boot_id) == (cell, boot_id)]
        for model in (Finding, HardMark):
            session.execute(
                delete(model).where(
                    model.cell == cell, model.boot_id == boot_id, model.seq.in_(seqs)
                )
            )


def next_round(settings: RetentionSettings, now: datetime) -> datetime:
    """When the serving process applies retention next."""
    return now + timedelta(seconds=seconds_until(settings.hour, now))


class RetentionClock:
    """Runs retention once a day beside the server, in a thread of its own."""

    def __init__(self, retention: Retention, settings: RetentionSettings) -> None:
        self._retention = retention
        self._settings = settings
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def start(self) -> None:
        """Begin to wait for the hour; where everything is kept, nothing is started."""
        if self._settings.is_limited:
            self._thread.start()

    def stop(self) -> None:
        """End after the rows that are being dropped."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(10.0)

    def _run(self) -> None:
        while not self._stopping.wait(seconds_until(self._settings.hour, datetime.now(UTC))):
            try:
                self._retention.run(stopping=self._stopping)
            except CloudError as error:  # tomorrow is another day
                LOGGER.warning("retention could not be applied", extra={"cause": str(error)})


def seconds_until(hour: int, now: datetime) -> float:
    """Time to the next full hour of that name, at least a second."""
    due = now.replace(hour=hour, minute=0, second=0, microsecond=0)
    if due <= now + timedelta(seconds=1):
        due += timedelta(days=1)
    return (due - now).total_seconds()

"""What is old goes, what is young, labelled or counted stays; on both databases."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import func, select

from cloud.arrivals import Arrival, Delivery, ImageArrival, Key, RecordArrival, RefusedArrival
from cloud.audit import list_entries
from cloud.db.count_tables import HardMark
from cloud.db.migration import migrate
from cloud.db.session import Database
from cloud.db.tables import Annotation, DeadLetter, Finding, Image, Result, ReviewStatus, Truth
from cloud.db.types import Base
from cloud.image_store import ImageStore
from cloud.ingest_store import IngestStore
from cloud.labeling import Labeling
from cloud.retention import Dropped, Retention, seconds_until
from cloud.settings import RetentionSettings
from cloud.statistics import Window
from cloud.statistics_queries import read_summary
from models.contract.messages import (
    Event,
    HardReason,
    ImageHeader,
    Inspection,
    Reason,
    ReasonCode,
    Stream,
    Verdict,
)
from models.contract.messages import (
    Truth as TruthBody,
)
from models.contract.topics import CellAddress

CELL = CellAddress("plant", "hall", "line1", "cell1")
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
BOOT = UUID(int=5)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path}/cloud.db")
    else:
        database = Database(request.getfixturevalue("postgresql_url"))
    migrate(database)
    yield database
    database.close()


class History:
    """A hundred days of one cell: a part a day, each with a picture."""

    def __init__(self, database: Database, images: ImageStore) -> None:
        self.hashes: list[str] = []
        arrivals: list[Arrival] = []
        for age in range(100):
            seq, at = age + 1, NOW - timedelta(days=age, hours=1)
            arrivals.append(self._record(seq, at, self._inspection(seq, age)))
            truth = TruthBody(part_id=f"P{seq}", actual=Verdict.OK)
            arrivals.append(self._record(seq + 500, at, truth))
            picture = self._picture(seq, at, age)
            arrivals.append(picture)
            self.hashes.append(picture.header.sha256)
        letter = Delivery("nowhere", b"{", (), NOW - timedelta(days=95))
        arrivals.append(RefusedArrival("not JSON", letter))
        IngestStore(database, images).write(arrivals)

    def _record(self, seq: int, at: datetime, body: Inspection | TruthBody) -> RecordArrival:
        event = Event(cell=str(CELL), boot_id=BOOT, seq=seq, created_at=at, body=body)
        key = Key(CELL, Stream.RECORDS, BOOT, seq)
        return RecordArrival(key, event, Delivery("", b"", (), at))

    def _inspection(self, seq: int, age: int) -> Inspection:
        return Inspection(
            result_id=UUID(int=seq), job_id=UUID(int=seq), trigger_id=f"T{seq}",
            part_id=f"P{seq}", verdict=Verdict.NOT_OK if age % 2 else Verdict.OK,
            reasons=(Reason(code=ReasonCode.DEFECT, category="scratch"),) if age % 2 else (),
            hard_reasons=(self._reason(age),), recipe_id="plate", recipe_version=1,
            processing_ms=9.0,
        )  # fmt: skip

    def _reason(self, age: int) -> HardReason:
        return HardReason.REJECT if age % 2 else HardReason.AUDIT

    def _picture(self, seq: int, at: datetime, age: int) -> ImageArrival:
        content = b"picture %d" % seq
        header = ImageHeader(
            cell=str(CELL), boot_id=BOOT, seq=seq, created_at=at, result_id=UUID(int=seq),
            part_id=f"P{seq}", sha256=hashlib.sha256(content).hexdigest(), width_px=9, height_px=9,
            hard_reasons=(self._reason(age),),
        )  # fmt: skip
        key = Key(CELL, Stream.IMAGES, BOOT, seq)
        return ImageArrival(key, header, Delivery("", content, (), at))


def count(database: Database, table: type[Base]) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_each_kind_goes_after_its_days_and_the_figures_stay(
    database: Database, tmp_path: Path
) -> None:
    images = ImageStore(str(tmp_path / "images"))
    history = History(database, images)
    labeling = Labeling(database)
    for sha256, decision in (
        (history.hashes[90], ReviewStatus.LABELLED),
        (history.hashes[80], ReviewStatus.REJECTED),
    ):
        labeling.save(sha256, decision=decision, boxes=(), reviewer="ann")
    with database.read() as session:
        before = read_summary(session, Window())
    settings = RetentionSettings(results_days=30, audit_days=10, pending_days=50, rejected_days=60)
    retention = Retention(database, images, settings, now=lambda: NOW)
    due, dropped = retention.due(), retention.run()
    assert due == {
        "results_days": 140, "audit_days": 43, "pending_days": 25, "rejected_days": 1,
        "dead_letters_days": 1,
    }  # fmt: skip
    assert (retention.due().keys(), sum(retention.due().values())) == (due.keys(), 0)
    assert (dropped.results, dropped.truths, dropped.dead_letters) == (70, 70, 1)
    assert (count(database, Result), count(database, Truth)) == (30, 30)
    assert (count(database, Finding), count(database, HardMark)) == (15, 30)
    # Audits of the last ten days, rejects of the last fifty, and the labelled one.
    kept = {sha256 for age, sha256 in enumerate(history.hashes) if age < (50 if age % 2 else 10)}
    assert set(images.all_hashes()) == kept | {history.hashes[90]}
    assert count(database, Image) == len(kept) + 1
    assert count(database, Annotation) == 1
    assert count(database, DeadLetter) == 0
    with database.read() as session:
        after = read_summary(session, Window())
    assert (after.verdicts, after.first_pass, after.escapes) == (
        before.verdicts, before.first_pass, before.escapes,
    )  # fmt: skip
    assert after.review == before.review | {"pending": len(kept), "rejected": 0}
    [entry] = list_entries(database, limit=9, action="apply retention")
    assert entry.details["pictures"] == 100 - len(kept) - 1


def test_a_second_round_and_the_default_drop_nothing_more(
    database: Database, tmp_path: Path
) -> None:
    images = ImageStore(str(tmp_path / "images"))
    History(database, images)
    settings = RetentionSettings(results_days=30, dead_letters_days=0)
    Retention(database, images, settings, now=lambda: NOW).run()
    assert Retention(database, images, settings, now=lambda: NOW).run() == Dropped()
    forever = RetentionSettings(dead_letters_days=0)
    assert not forever.is_limited
    assert Retention(database, images, forever, now=lambda: NOW).run() == Dropped()


def test_the_hour_of_retention_is_the_next_one_of_that_name() -> None:
    assert seconds_until(13, NOW) == 3600
    assert seconds_until(12, NOW) == 86_400
    assert seconds_until(11, NOW) == 23 * 3600

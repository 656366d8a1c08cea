"""Counters stay what counting the rows would give, whatever arrives, in whatever order."""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import delete, select

from cloud.arrivals import Arrival, Delivery, Key, RecordArrival
from cloud.db.count_tables import BootCount, HardMark, Tally
from cloud.db.migration import migrate
from cloud.db.recount import recount
from cloud.db.session import Database
from cloud.db.tables import Result
from cloud.image_store import ImageStore
from cloud.ingest_store import IngestStore
from cloud.results import ResultFilter, find_results
from cloud.statistics import Window
from cloud.statistics_queries import (
    read_pareto,
    read_parts_by_cell,
    read_record_counts,
    read_summaries,
    read_summary,
    read_verdicts_over_time,
    read_yield,
)
from models.contract.messages import (
    Event,
    HardReason,
    Inspection,
    Reason,
    ReasonCode,
    StationEvent,
    Stream,
    Truth,
    Verdict,
)
from models.contract.topics import CellAddress

CELLS = [CellAddress("plant", "hall", "line1", name) for name in ("cell1", "cell2")]
START = datetime(2026, 1, 31, 23, 50, tzinfo=UTC)
Body = Inspection | Truth | StationEvent


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path}/cloud.db")
    else:
        database = Database(request.getfixturevalue("postgresql_url"))
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def store(database: Database, tmp_path: Path) -> IngestStore:
    return IngestStore(database, ImageStore(str(tmp_path / "images")))


def record(cell: CellAddress, boot: int, seq: int, at: datetime, body: Body) -> RecordArrival:
    event = Event(cell=str(cell), boot_id=UUID(int=boot), seq=seq, created_at=at, body=body)
    delivery = Delivery("", b"", (), at + timedelta(seconds=2))
    return RecordArrival(Key(cell, Stream.RECORDS, event.boot_id, seq), event, delivery)


def inspection(part: str, verdict: Verdict, seq: int = 1, **more: object) -> Inspection:
    plain = {
        "result_id": UUID(int=seq), "job_id": UUID(int=seq), "trigger_id": f"T{seq}",
        "part_id": part, "verdict": verdict, "recipe_id": "plate", "recipe_version": 1,
        "processing_ms": 12.0,
    }  # fmt: skip
    return Inspection.model_validate(plain | more)


def a_shift(seed: int, count: int) -> list[RecordArrival]:
    """Records of two cells over some days; parts come back, views are partial, truths come late."""
    dice = random.Random(seed)  # noqa: S311 - a seed, not a secret
    found = []
    for seq in range(1, count + 1):
        cell, at = dice.choice(CELLS), START + timedelta(minutes=7.3 * seq)
        body: Body
        if seq % 11 == 0:
            body = Truth(part_id="P1", actual=Verdict.NOT_OK, said=dice.choice([Verdict.OK, None]))
        elif seq % 13 == 0:
            body = StationEvent(code="state")
        else:
            verdict = dice.choice(list(Verdict))
            reasons = () if verdict is Verdict.OK else (Reason(code=ReasonCode.DEFECT),) * 2
            hard = dice.sample(list(HardReason), dice.choice([0, 0, 2]))
            body = inspection(
                f"P{dice.randrange(count // 2)}", verdict, seq, is_partial=dice.random() < 0.2,
                recipe_id=dice.choice(["plate", "lid"]), reasons=reasons, hard_reasons=tuple(hard),
            )  # fmt: skip
        found.append(record(cell, dice.choice([1, 2]), seq, at, body))
    return found


def counters(database: Database) -> Sequence[object]:
    with database.read() as session:
        return [
            sorted(session.execute(select(*table.__table__.columns)).all(), key=str)
            for table in (Tally, BootCount, HardMark)
        ] + [session.scalars(select(Result.result_id).where(Result.is_first)).all()]


def without_zeros(found: Sequence[object]) -> list[object]:
    tallies, *others = found
    assert isinstance(tallies, list)
    return [[row for row in tallies if row.n], *map(_as_set, others)]


def _as_set(rows: object) -> set[str]:
    assert isinstance(rows, list)
    return {str(row) for row in rows}


def test_counters_equal_a_recount_after_repeated_and_reordered_deliveries(
    database: Database, store: IngestStore
) -> None:
    records: list[Arrival] = list(a_shift(seed=3, count=130))
    deliveries = records * 3
    random.Random(5).shuffle(deliveries)  # noqa: S311 - a seed, not a secret
    for start in range(0, len(deliveries), 50):
        store.write(deliveries[start : start + 50])
    counted = without_zeros(counters(database))
    with database.write() as session:
        recount(session.connection())
    assert counted == without_zeros(counters(database))
    with database.read() as session:
        assert sum(boot.num_records for boot in read_record_counts(session)) == 130


def test_figures_of_any_window_equal_counting_its_records(
    database: Database, store: IngestStore
) -> None:
    records = a_shift(seed=9, count=150)
    store.write(list(records))
    dice = random.Random(2)  # noqa: S311 - a seed, not a secret
    for _ in range(6):
        since = START + timedelta(minutes=dice.uniform(-100, 1500))
        until = since + timedelta(minutes=dice.choice([3, 50, 700, 5000]))
        cell = dice.choice([None, *CELLS])
        recipe = dice.choice([None, "plate"])
        window = Window(str(cell) if cell else None, since, until, recipe)
        within = [
            arrival.event.body
            for arrival in records
            if since <= arrival.event.created_at < until
            and (cell is None or arrival.key.cell == cell)
            and isinstance(arrival.event.body, Inspection)
            and (recipe is None or arrival.event.body.recipe_id == recipe)
        ]
        with database.read() as session:
            summary = read_summary(session, window)
            pareto = read_pareto(session, window)
            series = read_verdicts_over_time(session, window, bucket_s=3600)
            fine = read_verdicts_over_time(session, window, bucket_s=420)
            yields = read_yield(session, window, bucket_s=86_400)
            by_cell = read_parts_by_cell(session, window)
            summaries = read_summaries(session, window)
            alone = {
                name: read_summary(session, Window(name, since, until, recipe))
                for name in summaries
            }
        assert summaries == alone
        assert sum(found.results for found in summaries.values()) == len(within)
        joined = sum(not body.is_partial for body in within)
        assert summary.results == len(within)
        assert sum(bar.count for bar in pareto) == sum(len(body.reasons) for body in within)
        for points in (series, fine):
            assert sum(sum(point.verdicts.values()) for point in points) == joined
        assert sum(point.first_pass.n for point in yields) == summary.first_pass.n <= joined
        assert sum(sum(counts.values()) for counts in by_cell.values()) == joined


def test_an_earlier_result_that_arrives_late_takes_the_place_of_the_first(
    database: Database, store: IngestStore
) -> None:
    cell = CELLS[0]
    store.write([record(cell, 1, 2, START + timedelta(hours=3), inspection("P", Verdict.OK, 2))])
    store.write([record(cell, 1, 1, START, inspection("P", Verdict.NOT_OK, 1))])
    with database.read() as session:
        first = read_summary(session, Window()).first_pass
        points = read_yield(session, Window(), bucket_s=3600)
    assert (first.count, first.n) == (0, 1)
    assert [point.start for point in points] == [START.replace(minute=0)]


def test_a_record_is_there_once_though_the_count_of_its_boot_is_gone(
    database: Database, store: IngestStore
) -> None:
    records = [
        record(CELLS[0], 1, seq, START, inspection(f"P{seq}", Verdict.OK, seq))
        for seq in range(1, 5)
    ]
    store.write(records[:3])
    with database.write() as session:
        session.execute(delete(BootCount))
    assert store.write(records) == records
    with database.read() as session:
        assert sorted(session.scalars(select(Result.seq))) == [1, 2, 3, 4]
        assert read_summary(session, Window()).results == 4


def test_every_filter_finds_what_looking_through_finds_page_by_page(
    database: Database, store: IngestStore
) -> None:
    records = a_shift(seed=4, count=120)
    store.write(list(records))
    bodies = [
        (arrival.key.cell, arrival.event.created_at, arrival.event.body)
        for arrival in records
        if isinstance(arrival.event.body, Inspection)
    ]
    for wanted in (
        ResultFilter(),
        ResultFilter(cell=str(CELLS[0])),
        ResultFilter(verdict=Verdict.OK),
        ResultFilter(verdict=Verdict.NOT_OK, cell=str(CELLS[1])),
        ResultFilter(reason=ReasonCode.DEFECT),
        ResultFilter(reason=ReasonCode.DEFECT, hard_reason=HardReason.AUDIT, cell=str(CELLS[0])),
        ResultFilter(hard_reason=HardReason.AUDIT),
        ResultFilter(hard_reason=HardReason.NOVELTY, verdict=Verdict.NOT_DECIDABLE),
        ResultFilter(since=START + timedelta(hours=5), until=START + timedelta(hours=9)),
        ResultFilter(recipe_id="lid", reason=ReasonCode.DEFECT),
        ResultFilter(category="nothing like it"),
    ):
        expected = [
            body.result_id
            for cell, at, body in reversed(bodies)
            if wanted.cell in {None, str(cell)}
            and wanted.verdict in {None, body.verdict}
            and wanted.recipe_id in {None, body.recipe_id}
            and (wanted.reason is None or any(r.code == wanted.reason for r in body.reasons))
            and (wanted.hard_reason is None or wanted.hard_reason in body.hard_reasons)
            and (wanted.since is None or at >= wanted.since)
            and (wanted.until is None or at < wanted.until)
            and wanted.category is None
        ]
        found: list[UUID] = []
        before = None
        with database.read() as session:
            while page := find_results(session, wanted, limit=7, before=before):
                found += [result.result_id for result in page]
                before = page[-1].created_at, page[-1].id
        assert found == expected, wanted

"""The lake and Spark's figures over it agree with the database and the server's."""

import json
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pyarrow.parquet as pq
import pytest

from cloud.analytics.export import export_lake
from cloud.analytics.lake import Lake, LakeDay
from cloud.arrivals import Arrival, Delivery, ImageArrival, Key, RecordArrival
from cloud.db.migration import migrate
from cloud.db.session import Database
from cloud.db.tables import ReviewStatus
from cloud.image_store import ImageStore
from cloud.ingest_store import IngestStore
from cloud.labeling import Labeling
from cloud.review_items import LabelledBox
from cloud.statistics import Window
from cloud.statistics_queries import read_pareto, read_summary
from models.contract.bundle import CategoryKind
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
from models.contract.topics import CellAddress

CELL = CellAddress("plant", "hall", "line1", "cell1")
START = datetime(2026, 1, 31, 20, tzinfo=UTC)
BOOT = UUID(int=5)
NUM_DAYS = 3


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path}/cloud.db")
    migrate(database)
    return database


def record(number: int) -> RecordArrival:
    is_bad = number % 4 == 0
    body = Inspection(
        result_id=UUID(int=number + 1), job_id=UUID(int=number + 1), trigger_id=f"T{number}",
        part_id=f"P{number // 3 * 2}", is_partial=number % 9 == 1,
        verdict=Verdict.NOT_OK if is_bad else Verdict.OK,
        reasons=(Reason(code=ReasonCode.DEFECT, category=("scratch", "dent")[number % 8 // 4]),)
        if is_bad else (),
        hard_reasons=(HardReason.REJECT if is_bad else HardReason.AUDIT,), recipe_id="plate",
        recipe_version=1, processing_ms=9.0,
    )  # fmt: skip
    at = START + timedelta(minutes=37 * number)
    event = Event(cell=str(CELL), boot_id=BOOT, seq=number + 1, created_at=at, body=body)
    key = Key(CELL, Stream.RECORDS, BOOT, event.seq)
    return RecordArrival(key, event, Delivery("", b"", (), at))


def picture(arrival: RecordArrival) -> ImageArrival:
    event, body = arrival.event, arrival.event.body
    assert isinstance(body, Inspection)
    header = ImageHeader(
        cell=str(CELL), boot_id=BOOT, seq=event.seq, created_at=event.created_at,
        result_id=body.result_id, part_id=body.part_id, sha256=f"{event.seq:064x}", width_px=90,
        height_px=90, hard_reasons=body.hard_reasons,
    )  # fmt: skip
    delivery = Delivery("", b"%d" % event.seq, (), event.created_at)
    return ImageArrival(Key(CELL, Stream.IMAGES, BOOT, event.seq), header, delivery)


@pytest.fixture
def plant(database: Database, tmp_path: Path) -> Database:
    """Three days of a cell, some pictures labelled."""
    records = [record(number) for number in range(80)]
    arrivals: list[Arrival] = [*records, *map(picture, records[::2])]
    IngestStore(database, ImageStore(str(tmp_path / "images"))).write(arrivals)
    labeling = Labeling(database)
    for name, kind in (("scratch", CategoryKind.DEFECT), ("bolt", CategoryKind.OBJECT)):
        labeling.add_category(name, kind, actor="ann")
    for number in range(1, 30, 2):
        box = LabelledBox("scratch" if number % 3 else "bolt", (1, 1, 9, 9))
        labeling.save(f"{number:064x}", decision=ReviewStatus.LABELLED, boxes=[box], reviewer="ann")
    return database


def test_only_days_that_changed_are_written_again(plant: Database, tmp_path: Path) -> None:
    url = str(tmp_path / "lake")
    first = export_lake(plant, url)
    assert (first.written, first.unchanged, first.results, first.pictures) == (NUM_DAYS, 0, 80, 40)
    assert (export_lake(plant, url).written, export_lake(plant, url).unchanged) == (0, NUM_DAYS)
    late = record(3)
    body = late.event.body.model_copy(update={"result_id": UUID(int=999)})
    event = late.event.model_copy(update={"seq": 900, "body": body})
    arrival = RecordArrival(Key(CELL, Stream.RECORDS, BOOT, 900), event, late.delivery)
    IngestStore(plant, ImageStore(str(tmp_path / "images"))).write([arrival])
    again = export_lake(plant, url)
    assert (again.written, again.unchanged) == (1, NUM_DAYS - 1)
    days = Lake(url).days()
    assert sum(day.rows["results"] for day in days.values()) == 81
    files = sorted(path for path in (tmp_path / "lake" / "results").rglob("*.parquet"))
    assert len(files) == NUM_DAYS  # what was written before is gone
    assert sum(pq.ParquetFile(path).metadata.num_rows for path in files) == 81


def test_an_export_that_was_cut_off_leaves_no_half_day_and_goes_on(
    plant: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, kept = str(tmp_path / "lake"), Lake.keep

    def keep_or_die(lake: Lake, day: LakeDay) -> None:
        if day.day.day == 1:
            raise KeyboardInterrupt
        kept(lake, day)

    monkeypatch.setattr(Lake, "keep", keep_or_die)
    with pytest.raises(KeyboardInterrupt):
        export_lake(plant, url)
    assert [str(day) for day in Lake(url).days()] == ["2026-01-31"]
    monkeypatch.undo()
    done = export_lake(plant, url)
    assert (done.written, done.unchanged) == (NUM_DAYS - 1, 1)


def test_spark_counts_what_the_server_counts(plant: Database, tmp_path: Path) -> None:
    url = str(tmp_path / "lake")
    export_lake(plant, url)
    command = [sys.executable, "-m", "cloud.cli", "analyze", "--lake", url, "--json"]
    done = subprocess.run(
        [*command, "--master", "local[2]", "--since", "2026-02-01"],
        capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    window = Window(since=datetime(2026, 2, 1, tzinfo=UTC))
    with plant.read() as session:
        summary, pareto = read_summary(session, window), read_pareto(session, window)
    assert (found["results"], found["verdicts"]) == (summary.results, summary.verdicts)
    assert found["first_pass"] == asdict(summary.first_pass)
    assert found["escapes"] == asdict(summary.escapes)
    assert found["false_rejects"] == asdict(summary.false_rejects)
    assert found["pareto"] == [asdict(bar) for bar in pareto]
    assert summary.escapes.n > 0
    assert summary.false_rejects.n > 0
    assert 0 < summary.first_pass.n < summary.results


def test_a_lake_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cloud.cli", "analyze", "--lake", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "lake" in done.stderr.splitlines()[-1]

"""Drift out of a cell's own records, on either database, and what the policy makes of it."""

import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete

from cloud import drift_watch
from cloud.db.migration import migrate
from cloud.db.session import Database
from cloud.db.tables import Cell, Result
from cloud.drift import DriftLevel
from cloud.drift_watch import NUM_CURRENT, CellDrift, DriftWatch
from cloud.image_store import ImageStore
from cloud.labeling import Labeling
from cloud.learning import LearningServices
from cloud.policy import RetrainingTrigger
from cloud.settings import Settings
from models.contract.messages import ResultState, Verdict

CELL = "plant/area/line1/cell1"
BUNDLE = "a07be91f3c55d264"


def records(
    database: Database, start: datetime, count: int, *, mean_grey: float, bundle: str = BUNDLE
) -> datetime:
    """Add records of one cell, a second apart; gives the time of the next."""
    chance = random.Random(count)  # noqa: S311 - no secrets here
    with database.write() as session:
        if session.get(Cell, CELL) is None:
            session.add(Cell(cell=CELL, first_seen_at=start))
        for number in range(count):
            moment = start + timedelta(seconds=number)
            session.add(
                Result(
                    cell=CELL, boot_id=UUID(int=int(start.timestamp())), seq=number + 1,
                    created_at=moment, received_at=moment, result_id=uuid4(), job_id=uuid4(),
                    trigger_id=f"T{number}", part_id=f"P{number}", view="main",
                    verdict=Verdict.OK, is_partial=False, result_state=ResultState.COMPLETED,
                    reasons=[], recipe_id="plate", recipe_version=1, bundle_id=bundle, release=1,
                    detections=[
                        {"category": "bolt", "score": chance.uniform(0.7, 1), "bbox": [1, 2, 3, 4]}
                    ],
                    processing_ms=9.0, inference_ms=5.0, image_width_px=64, image_height_px=48,
                    mean_grey=chance.gauss(mean_grey, 4), sharpness=chance.gauss(300, 20),
                    hard_reasons=[], is_simulated=True,
                )
            )  # fmt: skip
    return start + timedelta(seconds=count)


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest) -> Iterator[Database]:
    if request.param == "sqlite":
        yield request.getfixturevalue("database")
        return
    made = Database(request.getfixturevalue("postgresql_url"))
    migrate(made)
    yield made
    made.close()


def drift(database: Database) -> CellDrift:
    (found,) = DriftWatch(database).cells()
    return found


def test_an_ageing_lamp_shows_in_the_brightness_alone(
    either: Database, clock: Callable[[], datetime]
) -> None:
    after = records(either, clock(), 300, mean_grey=120)
    assert drift(either).level is DriftLevel.UNKNOWN, "nothing to compare with yet"
    after = records(either, after, NUM_CURRENT, mean_grey=120)
    assert drift(either).level is DriftLevel.STABLE
    records(either, after, NUM_CURRENT, mean_grey=100)
    found = drift(either)
    levels = {shift.name: shift.level for shift in found.shifts}
    assert levels.pop("brightness") is DriftLevel.ALARM
    assert set(levels.values()) == {DriftLevel.STABLE}
    assert found.reason.startswith(f"{CELL}: brightness (PSI ")
    assert found.since == clock()


def test_a_new_model_starts_a_new_reference(
    database: Database, clock: Callable[[], datetime]
) -> None:
    after = records(database, clock(), 400, mean_grey=120)
    after = records(database, after, NUM_CURRENT, mean_grey=100, bundle="b" * 16)
    assert drift(database).level is DriftLevel.UNKNOWN
    records(database, after, NUM_CURRENT, mean_grey=100, bundle="b" * 16)
    assert drift(database).level is DriftLevel.STABLE


def test_what_was_found_is_told_for_a_minute_and_a_full_reference_is_read_once(
    database: Database, clock: Callable[[], datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift_watch, "NUM_REFERENCE", 150)
    seconds = iter([0.0, 59.0, 61.0, 61.0])
    watch = DriftWatch(database, now_s=lambda: next(seconds))
    after = records(database, clock(), 150, mean_grey=120)
    after = records(database, after, NUM_CURRENT, mean_grey=120)
    first = watch.cells()
    records(database, after, NUM_CURRENT, mean_grey=100)
    with database.write() as session:
        session.execute(delete(Result).where(Result.created_at < after))
    assert watch.cells() is first
    [found] = watch.cells()
    assert (first[0].level, found.level) == (DriftLevel.STABLE, DriftLevel.ALARM)
    assert found.since == clock()


def test_a_drift_alarm_asks_for_labels_of_what_has_changed(
    settings: Settings, database: Database, images: ImageStore, labeling: Labeling
) -> None:
    del labeling
    learning = LearningServices(settings, database, images)
    decision = learning.retraining.consider(RetrainingTrigger.DRIFT, drift=f"{CELL}: brightness")
    assert not decision.start
    assert decision.reason == "no snapshot is registered to start from"

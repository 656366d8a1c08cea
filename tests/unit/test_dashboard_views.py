"""What the dashboard shows, decided by pure functions."""

from collections import Counter, deque
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from cloud.dashboard import wording
from cloud.dashboard.legend import FALLBACK_THRESHOLD, Legend
from cloud.dashboard.line_monitor import CellMemory, LineState, Reject
from cloud.dashboard.line_view import (
    STALE_AFTER,
    alarms_of,
    are_all_silent,
    cell_card,
    connection_of,
    yield_ratio,
)
from cloud.dashboard.links import part_url, safe_target
from cloud.dashboard.training_view import progress_of, stages_of
from cloud.db.tables import Cell, Result, RunState, TrainingRun
from cloud.shifts import shift_start
from models.contract.messages import Verdict

NOW = datetime(2026, 3, 2, 10, 30, tzinfo=UTC)
CELL = "plant/assembly/line1/cell1"


def _cell(*, heartbeat_age: timedelta = timedelta(0), **status: object) -> Cell:
    return Cell(
        cell=CELL,
        status={"connection": "online", "station_state": "ready"} | status,
        status_at=NOW - heartbeat_age,
        reported=None,
    )


def _result(verdict: Verdict, part_id: str) -> Result:
    return Result(
        cell=CELL,
        result_id=uuid4(),
        part_id=part_id,
        verdict=verdict,
        reasons=[],
        detections=[],
        created_at=NOW,
        processing_ms=21.0,
        recipe_id="plate",
        recipe_version=2,
        image_width_px=640,
        image_height_px=512,
    )


@pytest.mark.parametrize(
    ("heartbeat_age", "expected"),
    [
        pytest.param(STALE_AFTER, "online", id="exactly at the limit is still live"),
        pytest.param(STALE_AFTER + timedelta(seconds=1), "stale", id="a heartbeat too late"),
    ],
)
def test_a_cell_without_heartbeat_is_shown_as_stale(
    heartbeat_age: timedelta, expected: str
) -> None:
    assert connection_of(_cell(heartbeat_age=heartbeat_age), NOW) == expected


def test_a_cell_that_said_it_stopped_never_turns_stale() -> None:
    cell = _cell(heartbeat_age=timedelta(hours=3), connection="stopped")
    assert connection_of(cell, NOW) == "stopped"


def test_every_alarm_names_a_cause_and_an_action() -> None:
    cell = _cell(station_state="error")
    cell.reported = {"phase": "rolled_back", "error": "golden picture 3 differs"}
    alarms = alarms_of(cell, "offline")
    assert [alarm["code"] for alarm in alarms] == ["offline", "state", "update"]
    assert all(alarm["cause"].endswith(".") and alarm["action"] for alarm in alarms)


def test_the_cells_own_alarm_replaces_the_general_one() -> None:
    own = {"code": "camera", "cause": "Camera lost", "action": "Check its cable"}
    alarms = alarms_of(_cell(station_state="error", alarms=[own]), "online")
    assert [alarm["cause"] for alarm in alarms] == ["Camera lost."]


def test_only_when_every_cell_is_silent_the_fault_is_here() -> None:
    live, silent = _cell(), _cell(heartbeat_age=timedelta(minutes=5))

    def state(*cells: Cell) -> LineState:
        return LineState(NOW, NOW, cells, {}, {}, {}, 0)

    assert are_all_silent(state(silent, silent))
    assert not are_all_silent(state(live, silent))
    assert not are_all_silent(state())


def test_the_false_reject_button_means_the_last_rejected_part_not_the_last_part() -> None:
    good, bad = _result(Verdict.OK, "P-3"), _result(Verdict.NOT_OK, "P-1")
    unsure = _result(Verdict.NOT_DECIDABLE, "P-2")
    memory = CellMemory(
        counts=Counter({Verdict.OK: 98, Verdict.NOT_OK: 1, Verdict.NOT_DECIDABLE: 1}),
        last=good,
        last_ok=good,
        rejects=deque([bad, unsure]),
    )
    state = LineState(
        NOW,
        NOW,
        (_cell(),),
        {CELL: memory},
        {},
        {CELL: (Reject(unsure, None), Reject(bad, None))},
        0,
    )
    card = cell_card(state.cells[0], state, Legend())
    assert card["last_reject"]["part_id"] == "P-1"
    assert card["last_ok"]["part_id"] == "P-3"
    assert [reject["part_id"] for reject in card["rejects"]] == ["P-2", "P-1"]
    assert card["counts"]["yield_ratio"] == pytest.approx(0.98)
    assert card["picture"] is None


def test_the_yield_of_no_parts_is_unknown_not_zero() -> None:
    assert yield_ratio({}) is None
    assert wording.ratio_text(None) == wording.UNKNOWN


def test_defects_are_drawn_over_objects() -> None:
    found = [
        {"category": "scratch", "score": 0.9, "bbox": [1, 2, 3, 4]},
        {"category": "bolt", "score": 0.8, "bbox": [5, 6, 7, 8]},
    ]
    boxes = Legend({"bolt": "object", "scratch": "defect"}).boxes(found)
    assert [box["category"] for box in boxes] == ["bolt", "scratch"]


@pytest.mark.parametrize(
    ("score", "bundle_id", "is_drawn"),
    [
        pytest.param(0.6, "known", True, id="exactly at the model's operating point"),
        pytest.param(0.59, "known", False, id="just below it"),
        pytest.param(FALLBACK_THRESHOLD, "unknown", True, id="a model that was never released"),
        pytest.param(None, "known", True, id="a label has no score"),
    ],
)
def test_only_findings_that_count_are_drawn(
    score: float | None, bundle_id: str, is_drawn: bool
) -> None:
    legend = Legend(thresholds={"known": {"scratch": 0.6}})
    boxes = legend.boxes([{"category": "scratch", "score": score, "bbox": [1, 2, 3, 4]}], bundle_id)
    assert bool(boxes) is is_drawn


def test_a_serial_number_may_hold_anything() -> None:
    assert part_url("A/1 ?#") == "/parts/A%2F1%20%3F%23"


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        pytest.param((2, 6, 0), (2, 6), id="a shift begins at its first second"),
        pytest.param((2, 21, 59), (2, 14), id="late"),
        pytest.param((3, 5, 59), (2, 22), id="the night shift began the day before"),
    ],
)
def test_the_shift_that_runs(moment: tuple[int, int, int], expected: tuple[int, int]) -> None:
    day, hour, minute = moment
    start = shift_start(NOW.replace(day=day, hour=hour, minute=minute))
    assert (start.day, start.hour, start.minute) == (*expected, 0)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        pytest.param(
            {"code": "missing_object", "object_name": "bolt_3"}, "Bolt 3 missing", id="object"
        ),
        pytest.param({"code": "defect", "category": "torn_label"}, "Torn label", id="defect"),
        pytest.param({"code": "defect", "text": "scratch, 0.91"}, "Scratch, 0.91", id="own words"),
        pytest.param({"code": "from_the_future"}, "From the future", id="a newer cell's code"),
    ],
)
def test_a_reason_reads_as_words(reason: dict[str, str], expected: str) -> None:
    assert wording.reason_text(reason) == expected


@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        pytest.param("/models?release=2", "/models?release=2", id="a page of ours"),
        pytest.param("https://evil.example/", "/", id="another site"),
        pytest.param("//evil.example/", "/", id="another site without a scheme"),
        pytest.param("/\\evil.example/", "/", id="a backslash counts as a slash"),
        pytest.param("/a\nb", "/", id="a line break"),
    ],
)
def test_signing_in_leads_nowhere_else(wanted: str, target: str) -> None:
    assert safe_target(wanted) == target


def _run(state: RunState, progress: dict[str, Any] | None) -> TrainingRun:
    return TrainingRun(state=state, progress=progress, started_at=NOW)


@pytest.mark.parametrize(
    ("state", "stage", "expected"),
    [
        pytest.param(RunState.RUNNING, "fit", "done done now todo todo todo", id="training"),
        pytest.param(RunState.FAILED, "fit", "done done stopped todo todo todo", id="failed"),
        pytest.param(
            RunState.REFUSED, "evaluate", "done done done done done stopped", id="a gate said no"
        ),
        pytest.param(RunState.SUCCEEDED, "evaluate", "done done done done done done", id="through"),
    ],
)
def test_stages_tell_how_far_a_run_came(state: RunState, stage: str, expected: str) -> None:
    stages = stages_of(_run(state, {"stage": stage}))
    assert " ".join(step["state"] for step in stages) == expected


def test_progress_without_a_step_count_shows_no_bar() -> None:
    assert progress_of(_run(RunState.RUNNING, {"stage": "start", "text": "starting Spark"})) == {
        "ratio": None,
        "words": ["starting Spark"],
        "left": "",
    }

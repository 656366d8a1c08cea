"""Nothing that was answered may be lost on its way into the outbox."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pytest

from edge_agent.errors import StorageError
from edge_agent.journal import VerdictJournal
from edge_agent.journal_file import JournalFile
from edge_agent.ports import CycleOutcome, Frame, Picture, RecordBody
from edge_agent.recorder import Contradiction, Learning, Recorder
from models.contract.messages import (
    Alarm,
    HardReason,
    Inspection,
    PlcResult,
    Reason,
    ReasonCode,
    Truth,
    Verdict,
)
from models.contract.recipe import Recipe, View
from models.detector.detections import Detections

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
VIEW = View()
RECIPE = Recipe(
    recipe_id="plate",
    version=2,
    part_type="plate",
    image_width_px=32,
    image_height_px=24,
    views=(VIEW,),
)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.recorder.RETRY_S", 0.005)
    monkeypatch.setattr("edge_agent.recorder.COMMIT_PERIOD_S", 0.0)


class ShakyOutbox:
    """Keeps everything, except while it is told to refuse."""

    def __init__(self) -> None:
        self.records: list[RecordBody] = []
        self.pictures: list[Picture] = []
        self.refuses = False
        self.num_commits = 0
        self.known: set[UUID] = set()

    def append_record(self, body: RecordBody, *, created_at: datetime) -> int:
        assert created_at == NOW
        if self.refuses:
            raise StorageError("disk full")
        self.records.append(body)
        return len(self.records)

    def append_records(self, records: Sequence[tuple[RecordBody, datetime]]) -> None:
        for body, created_at in records:
            self.append_record(body, created_at=created_at)
        self.num_commits += 1

    def append_image(self, picture: Picture) -> int | None:
        if self.refuses:
            raise StorageError("disk full")
        self.pictures.append(picture)
        return len(self.pictures)

    def contains_result(self, result_id: UUID) -> bool:
        return result_id in self.known

    def num_records(self) -> int:
        return len(self.records)

    def num_images(self) -> int:
        return len(self.pictures)


class Miner:
    def __init__(self, *reasons: HardReason) -> None:
        self.reasons = reasons

    def choose(self, cycle: CycleOutcome) -> tuple[HardReason, ...]:
        if cycle.part_id == "trouble":
            raise ValueError("a mistake in the miner")
        return self.reasons

    def admit(self, reason: HardReason) -> bool:
        return reason is HardReason.CONTRADICTION


class Ring:
    def __init__(self) -> None:
        self.cycles: list[CycleOutcome] = []

    def add(self, cycle: CycleOutcome) -> None:
        self.cycles.append(cycle)

    def find(self, part_id: str) -> tuple[CycleOutcome, ...]:
        return tuple(cycle for cycle in reversed(self.cycles) if cycle.part_id == part_id)


def result(part_id: str = "p1", verdict: Verdict = Verdict.OK) -> PlcResult:
    return PlcResult(
        trigger_id="t1",
        result_id=uuid4(),
        job_id=uuid4(),
        part_id=part_id,
        view="main",
        verdict=verdict,
        recipe_id="plate",
        recipe_version=2,
        processing_ms=8.5,
    )


def outcome(answer: PlcResult) -> CycleOutcome:
    image = np.full((24, 32, 3), 90, np.uint8)
    return CycleOutcome(
        result_id=answer.result_id,
        job_id=answer.job_id,
        trigger_id=answer.trigger_id,
        part_id=answer.part_id,
        recipe=RECIPE,
        view=VIEW,
        verdict=answer.verdict,
        reasons=answer.reasons,
        decided_at=NOW,
        categories=("bolt",),
        frame=Frame(image, 1, NOW),
        detections=Detections.empty(),
        part_verdict=answer.verdict,
        part_reasons=answer.reasons,
    )


class Desk:
    """A recorder with its surroundings."""

    def __init__(
        self,
        folder: Path,
        miner: Miner | None = None,
        queue_size: int = 4,
        max_held: int | None = None,
    ) -> None:
        self.outbox, self.ring = ShakyOutbox(), Ring()
        self.path = folder / "journal"
        self.journal = VerdictJournal(JournalFile(self.path, segment_bytes=8192))
        self.alarms: list[Alarm | None] = []
        self.has_room_again = threading.Event()
        self.recorder = Recorder(
            outbox=self.outbox,
            journal=self.journal,
            learning=Learning(miner or Miner(), self.ring),
            queue_size=queue_size,
            max_held=queue_size if max_held is None else max_held,
            on_room=self.has_room_again.set,
            on_storage=self.alarms.append,
        )

    def answer(self, *parts: str) -> list[PlcResult]:
        """As the inspection thread does: journal, verdict to the PLC, recorder."""
        answers = [result(part_id) for part_id in parts]
        for answer in answers:
            self.journal.write(answer, decided_at=NOW)
            self.recorder.post_cycle(outcome(answer))
        return answers


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.001)


def parts_of(outbox: ShakyOutbox) -> list[str]:
    return [body.part_id for body in outbox.records if isinstance(body, Inspection)]


def test_parts_that_come_fast_share_a_commit_and_the_last_ones_need_no_other_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.recorder.COMMIT_PERIOD_S", 0.3)
    desk = Desk(tmp_path, queue_size=16)
    desk.recorder.start()
    parts = [f"p{number}" for number in range(8)]
    for part_id in parts:
        desk.answer(part_id)
        time.sleep(0.005)
    wait_until(lambda: parts_of(desk.outbox) == parts)
    # The empty one of the start, at most one in its period, and the rest at once.
    assert desk.outbox.num_commits <= 3
    desk.recorder.stop()


def test_recorded_verdicts_leave_the_journal(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.recorder.start()
    desk.answer("p1", "p2", "p3")
    desk.recorder.stop()
    assert parts_of(desk.outbox) == ["p1", "p2", "p3"]
    assert all(entry.is_recorded for entry in Desk(tmp_path).journal.entries)


def test_verdicts_of_a_killed_process_are_recorded_at_the_next_start(tmp_path: Path) -> None:
    killed = Desk(tmp_path)
    first, second = killed.answer("p1", "p2")  # its recorder never ran
    written = killed.path.read_bytes().rstrip(b"\0")
    with killed.path.open("r+b") as journal:
        journal.seek(len(written))
        journal.write(b"V\t2026-03-01T12:00:00+00:00\t{torn")
    after = Desk(tmp_path)
    after.outbox.known = {first.result_id}
    after.recorder.start()
    after.answer("p3")
    after.recorder.stop()
    assert parts_of(after.outbox) == ["p2", "p3"], "p1 was in the outbox already"
    recovered = after.outbox.records[0]
    assert isinstance(recovered, Inspection)
    assert recovered.result_id == second.result_id
    assert recovered.processing_ms == 8.5


def test_full_disk_is_waited_for_and_nothing_is_lost(tmp_path: Path) -> None:
    desk = Desk(tmp_path, queue_size=2)
    desk.outbox.refuses = True
    desk.recorder.start()
    desk.answer("p1", "p2", "p3")
    wait_until(lambda: bool(desk.alarms))
    # The alarm may come with the first part; from the second one on the station drops Ready.
    wait_until(lambda: not desk.recorder.has_room)
    desk.outbox.refuses = False
    assert desk.has_room_again.wait(5)
    desk.recorder.stop()
    assert parts_of(desk.outbox) == ["p1", "p2", "p3"]
    assert [alarm.code if alarm else None for alarm in desk.alarms] == ["storage", None]


def test_verdicts_go_on_while_a_full_disk_takes_no_records(tmp_path: Path) -> None:
    desk = Desk(tmp_path, queue_size=2, max_held=100)
    desk.outbox.refuses = True
    desk.recorder.start()
    parts = [f"p{number}" for number in range(12)]
    for part_id in parts:
        wait_until(lambda: desk.recorder.has_room)
        desk.answer(part_id)
    wait_until(lambda: len(desk.recorder._batch) == len(parts))
    assert desk.recorder.has_room
    desk.outbox.refuses = False
    wait_until(lambda: parts_of(desk.outbox) == parts)
    desk.recorder.stop()
    assert [alarm.code if alarm else None for alarm in desk.alarms] == ["storage", None]


def test_what_a_full_disk_refuses_until_the_end_stays_in_the_journal(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.outbox.refuses = True
    desk.recorder.start()
    desk.answer("p1", "p2")
    desk.recorder.stop()
    after = Desk(tmp_path)
    after.recorder.start()
    after.recorder.stop()
    assert parts_of(after.outbox) == ["p1", "p2"]


def test_hard_picture_goes_with_its_record(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Miner(HardReason.UNCERTAIN))
    desk.recorder.start()
    desk.answer("p1")
    desk.recorder.stop()
    (picture,), (record,) = desk.outbox.pictures, desk.outbox.records
    assert isinstance(record, Inspection)
    assert record.image_sha256 == picture.sha256
    assert record.hard_reasons == picture.hard_reasons == (HardReason.UNCERTAIN,)
    assert (picture.width_px, picture.height_px) == (32, 24)


def test_mistake_in_the_miner_costs_no_record(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Miner(HardReason.UNCERTAIN))
    desk.recorder.start()
    desk.answer("trouble", "p2")
    desk.recorder.stop()
    assert parts_of(desk.outbox) == ["trouble", "p2"]
    assert len(desk.outbox.pictures) == 1


def test_boxes_that_cannot_be_recorded_cost_neither_the_record_nor_the_journals_room(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path)
    desk.recorder.start()
    answer = result("p1")
    desk.journal.write(answer, decided_at=NOW)
    box, score = np.array([[1, 1, 9, 9]], np.float32), np.array([0.9], np.float32)
    unnamed = Detections(box, score, np.array([7]))  # the model has one category
    desk.recorder.post_cycle(replace(outcome(answer), detections=unnamed))
    desk.recorder.stop()
    (record,) = desk.outbox.records
    assert isinstance(record, Inspection)
    assert (record.result_id, record.verdict) == (answer.result_id, Verdict.OK)
    assert record.detections == ()
    assert VerdictJournal(JournalFile(desk.path, segment_bytes=8192)).entries[0].is_recorded


@pytest.mark.parametrize(
    ("actual", "num_pictures"),
    [
        pytest.param(Verdict.NOT_OK, 1, id="an escape"),
        pytest.param(Verdict.OK, 0, id="the station was right"),
    ],
)
def test_contradiction_brings_the_picture_back(
    tmp_path: Path, actual: Verdict, num_pictures: int
) -> None:
    desk = Desk(tmp_path)
    desk.recorder.start()
    (answer,) = desk.answer("p1")
    desk.recorder.post_contradiction(Contradiction("p1", actual, NOW))
    desk.recorder.stop()
    truth = desk.outbox.records[-1]
    assert isinstance(truth, Truth)
    assert (truth.actual, truth.said, truth.result_id) == (actual, Verdict.OK, answer.result_id)
    assert len(desk.outbox.pictures) == num_pictures


def test_truth_about_a_part_that_nobody_remembers_is_recorded_all_the_same(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.recorder.start()
    desk.recorder.post_contradiction(Contradiction("long gone", Verdict.NOT_OK, NOW))
    desk.recorder.stop()
    truth = desk.outbox.records[0]
    assert isinstance(truth, Truth)
    assert truth.said is None


def test_last_view_is_recorded_with_the_verdict_that_the_plc_was_told(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    reason = Reason(code=ReasonCode.DEFECT, category="bolt")
    answer = result(verdict=Verdict.NOT_OK).model_copy(update={"reasons": (reason,)})
    last = replace(outcome(answer), verdict=Verdict.OK, reasons=())
    desk.recorder.start()
    desk.journal.write(answer, decided_at=NOW)
    desk.recorder.post_cycle(last)
    desk.recorder.stop()
    record = desk.outbox.records[0]
    assert isinstance(record, Inspection)
    assert (record.verdict, record.reasons) == (Verdict.NOT_OK, (reason,))

"""Pictures over HTTP: judged beside the line's parts, never at their cost."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from edge_agent.clock import SystemClock
from edge_agent.errors import (
    EdgeAgentError,
    ModelFault,
    NotReadyError,
    OverloadError,
    UnreadablePictureError,
)
from edge_agent.inspection_ports import PictureRequest
from edge_agent.journal import VerdictJournal
from edge_agent.journal_file import JournalFile
from edge_agent.picture_desk import PAUSE_S, PictureDesk
from edge_agent.picture_queue import PictureQueue
from edge_agent.ports import CycleOutcome, Image, LoadedModel
from edge_agent.right_of_way import RightOfWay
from edge_agent.telemetry import Telemetry
from models.contract.bundle import BundleManifest, Category, ModelRef
from models.contract.messages import Verdict
from models.contract.recipe import ForbiddenDefect, Recipe, View
from models.detector.detections import Detections

WAIT_S = 5.0
VIEW = View(forbidden=(ForbiddenDefect(category="scratch"),))
RECIPE = Recipe(
    recipe_id="plate",
    version=1,
    part_type="plate",
    image_width_px=32,
    image_height_px=24,
    views=(VIEW,),
)
IMAGE = np.random.default_rng(3).integers(50, 200, (24, 32, 3)).astype(np.uint8)


class Detector:
    categories = ("scratch",)

    def __init__(self) -> None:
        self.thresholds = {"scratch": 0.5}
        self.is_closed = False
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.may_end.set()

    def infer(self, image: Image) -> Detections:  # noqa: ARG002
        self.begun.set()
        assert self.may_end.wait(WAIT_S)
        if self.is_closed:
            raise ModelFault("the model was let go")
        return Detections.empty()

    def close(self) -> None:
        self.is_closed = True


class Recorder:
    def __init__(self) -> None:
        self.cycles: list[CycleOutcome] = []
        self.is_calm = True

    def post_cycle(self, cycle: CycleOutcome) -> None:
        self.cycles.append(cycle)


def model(name: str) -> LoadedModel:
    ref = ModelRef(release=1, bundle_id="0" * 16, name=name)
    manifest = BundleManifest(
        bundle_id="0" * 16,
        name=name,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        categories=(Category(name="scratch"),),
        thresholds={"scratch": 0.5},
        files={},
        golden=(),
    )
    return LoadedModel(ref, manifest, Detector(), Path())


class Cell:
    """A desk with everything that it needs."""

    def __init__(self, folder: Path, *, size: int = 8) -> None:
        self.model: LoadedModel | None = model("first")
        self.recorder = Recorder()
        self.way = RightOfWay()
        self.queue = PictureQueue(size)
        self.faults: list[EdgeAgentError] = []
        self.desk = PictureDesk(
            pictures=self.queue,
            current=lambda: self.model,
            recorder=self.recorder,  # type: ignore[arg-type]
            journal=VerdictJournal(JournalFile(folder / "journal")),
            telemetry=Telemetry(),
            clock=SystemClock(),
            right_of_way=self.way,
            num_threads=1,
            on_fault=self.faults.append,
        )

    @property
    def detector(self) -> Detector:
        assert self.model is not None
        assert isinstance(self.model.detector, Detector)
        return self.model.detector

    def send(
        self, part_id: str, read: Callable[[], Image] = lambda: IMAGE
    ) -> "Future[CycleOutcome]":
        request, now_ns = PictureRequest(read, part_id), SystemClock().monotonic_ns()
        return self.queue.put(request, RECIPE, VIEW, arrived_ns=now_ns)


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    cell = Cell(tmp_path)
    cell.desk.start()
    yield cell
    cell.detector.may_end.set()
    cell.desk.stop()


def test_every_picture_is_answered_and_then_recorded(cell: Cell) -> None:
    outcomes = [cell.send(f"p{n}").result(WAIT_S) for n in range(3)]
    cell.desk.stop()
    assert [outcome.verdict for outcome in outcomes] == [Verdict.OK] * 3
    assert [cycle.part_id for cycle in cell.recorder.cycles] == ["p0", "p1", "p2"]


def test_picture_waits_while_the_lines_part_is_judged(cell: Cell) -> None:
    asked = threading.Event()
    give_way = cell.way.give_way

    def watched(needed_s: float = 0.0) -> None:
        asked.set()
        give_way(needed_s)

    cell.way.give_way = watched  # type: ignore[method-assign]
    cell.way.take()
    answer = cell.send("http")
    assert asked.wait(WAIT_S)
    assert not cell.detector.begun.is_set()
    cell.way.release()
    assert answer.result(WAIT_S).verdict is Verdict.OK


def test_what_can_wait_waits_for_a_pause_between_pictures_but_not_for_ever(cell: Cell) -> None:
    assert cell.send("http").result(WAIT_S).verdict is Verdict.OK
    before_s = time.monotonic()
    cell.desk.wait_for_pause()
    assert PAUSE_S / 2 < time.monotonic() - before_s < WAIT_S
    cell.desk._busy_since_ns[0] = 0
    cell.desk.wait_for_pause(0.02)
    del cell.desk._busy_since_ns[0]


def test_no_picture_is_begun_while_the_recorder_is_busy_with_the_line(cell: Cell) -> None:
    cell.recorder.is_calm = False
    read = threading.Event()

    def picture() -> Image:
        read.set()
        return IMAGE

    answer = cell.send("http", picture)
    assert read.wait(WAIT_S)
    assert not cell.detector.begun.is_set()
    cell.recorder.is_calm = True
    assert answer.result(WAIT_S).verdict is Verdict.OK


def test_picture_whose_model_was_swapped_out_is_judged_by_the_new_one(cell: Cell) -> None:
    old = cell.detector
    old.may_end.clear()
    answer = cell.send("http")
    assert old.begun.wait(WAIT_S)
    cell.model = model("second")
    old.close()
    old.may_end.set()
    outcome = answer.result(WAIT_S)
    assert outcome.model is not None
    assert outcome.model.name == "second"
    assert cell.faults == []


def test_model_that_is_unusable_is_told_to_the_station(cell: Cell) -> None:
    cell.detector.close()
    with pytest.raises(ModelFault):
        cell.send("http").result(WAIT_S)
    cell.desk.stop()
    assert len(cell.faults) == 1
    assert cell.recorder.cycles == []


def test_damaged_picture_costs_only_its_sender(cell: Cell) -> None:
    def damaged() -> Image:
        raise UnreadablePictureError("damaged")

    with pytest.raises(UnreadablePictureError):
        cell.send("bad", damaged).result(WAIT_S)
    assert cell.send("good").result(WAIT_S).verdict is Verdict.OK


def test_newcomer_is_sent_away_when_too_many_wait_and_all_are_when_the_agent_stops(
    tmp_path: Path,
) -> None:
    cell = Cell(tmp_path, size=2)
    waiting = [cell.send("a"), cell.send("b")]
    with pytest.raises(OverloadError):
        cell.send("c")
    cell.desk.stop()
    for answer in waiting:
        with pytest.raises(NotReadyError):
            answer.result(WAIT_S)

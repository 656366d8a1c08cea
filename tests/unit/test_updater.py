"""A new model comes, is watched, and stays or goes; the line judges parts all the while."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from edge_agent import updater as updater_module
from edge_agent.errors import ModelFault, ReleaseUnavailableError, SwapError, UpdateError
from edge_agent.judgement import LabelMap, judge_view
from edge_agent.model_store import ModelStore, StoredModel
from edge_agent.ports import CycleOutcome, CycleTimings, Frame, Image, LoadedModel
from edge_agent.update_ports import UpdaterHooks
from edge_agent.updater import Updater
from models.contract.bundle import (
    BundleManifest,
    Category,
    ModelRef,
    bundle_id_of,
    hash_files,
    read_manifest,
)
from models.contract.messages import (
    DesiredModel,
    FollowMode,
    HardReason,
    ModelPhase,
    Reason,
    ReasonCode,
    Verdict,
)
from models.contract.recipe import ExpectedObject, ForbiddenDefect, Recipe, View
from models.detector.detections import Detections

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
WAIT_S = 10.0
PICTURE = np.zeros((32, 32, 3), np.uint8)
VIEW = View(
    expected=(ExpectedObject(name="bolt", category="bolt"),),
    forbidden=(ForbiddenDefect(category="torn"),),
)
RECIPE = Recipe(
    recipe_id="plate",
    version=1,
    part_type="plate",
    image_width_px=32,
    image_height_px=32,
    views=(VIEW,),
)
Answer = Callable[[Image], Detections]


def finds(*class_ids: int, score: float = 0.9) -> Answer:
    return lambda _image: Detections(
        boxes=np.array([[4, 4, 12, 12]] * len(class_ids), np.float32).reshape(-1, 4),
        scores=np.full(len(class_ids), score, np.float32),
        class_ids=np.array(class_ids, np.int64),
    )


class FakeDetector:
    """Answers as it is told."""

    def __init__(self, answer: Answer, categories: tuple[str, ...] = ("bolt",)) -> None:
        self.answer = answer
        self.categories = categories
        self.thresholds = dict.fromkeys(categories, 0.5)
        self.is_closed = False

    def infer(self, image: Image) -> Detections:
        assert not self.is_closed, "a closed model was asked"
        return self.answer(image)

    def close(self) -> None:
        self.is_closed = True


class FakeClock:
    """Time that is moved by hand."""

    def __init__(self) -> None:
        self.now_ns = 0

    def monotonic_ns(self) -> int:
        return self.now_ns

    def now(self) -> datetime:
        return NOON


class FakeHost:
    """Swaps at once, or refuses."""

    def __init__(self, active: LoadedModel) -> None:
        self.active: LoadedModel | None = active
        self.refusal: str | None = None
        self.history = [active.ref.release]

    def swap(self, model: LoadedModel, *, timeout_s: float) -> LoadedModel | None:
        if self.refusal:
            raise SwapError(f"{self.refusal} ({timeout_s} s)")
        old, self.active = self.active, model
        self.history.append(model.ref.release)
        return old


def make_bundle(folder: Path, content: str) -> ModelRef:
    folder.mkdir(parents=True)
    (folder / "model.xml").write_text(content)
    files = hash_files(folder)
    manifest = BundleManifest(
        bundle_id=bundle_id_of(files),
        name="plate",
        created_at=NOON,
        categories=(Category(name="bolt"),),
        thresholds={"bolt": 0.5},
        files=files,
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return ModelRef(release=0, bundle_id=manifest.bundle_id, name="plate")


class FakeSource:
    """Publishes bundles by release."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: list[Exception] = []
        self.fetched: list[int] = []

    def publish(self, release: int, content: str) -> ModelRef:
        ref = make_bundle(self.folder / f"r{release}", content)
        return ref.model_copy(update={"release": release})

    def fetch(self, ref: ModelRef, *, into: Path) -> Path:
        self.confirm(ref)
        self.fetched.append(ref.release)
        target = into / f"r{ref.release}"
        target.mkdir()
        for path in (self.folder / f"r{ref.release}").iterdir():
            (target / path.name).write_bytes(path.read_bytes())
        return target

    def confirm(self, ref: ModelRef) -> None:
        assert ref.release > 0
        if self.faults:
            raise self.faults.pop(0)

    def cancel(self) -> None:
        """Nothing takes long here."""


class FakeWorkshop:
    """Compiles whatever the test says a release is."""

    def __init__(self) -> None:
        self.detectors: dict[int, FakeDetector] = {}
        self.fault: str | None = None
        self.is_slow = False
        self._is_cancelled = threading.Event()

    def check(self, bundle_dir: Path, *, on_phase: Callable[[ModelPhase], None]) -> None:
        assert bundle_dir.is_dir()
        on_phase(ModelPhase.COMPILING)
        if self.is_slow and self._is_cancelled.wait(WAIT_S):
            raise UpdateError("the model ended its checking process by signal -9")
        if self.fault:
            raise UpdateError(self.fault)
        on_phase(ModelPhase.CHECKING)

    def cancel(self) -> None:
        self._is_cancelled.set()

    def load(self, stored: StoredModel) -> LoadedModel:
        detector = self.detectors[stored.ref.release]
        return LoadedModel(
            stored.ref, read_manifest(stored.bundle_dir), detector, stored.bundle_dir
        )


class Cell:
    """A line that inspects parts with whatever model runs, and an updater beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        baseline = folder / "baseline"
        ref = make_bundle(baseline, "baseline")
        self.first = FakeDetector(finds(0))
        model = LoadedModel(ref, read_manifest(baseline), self.first, baseline)
        self.store = ModelStore(folder / "store", baseline=baseline)
        self.source = FakeSource(folder / "published")
        self.host = FakeHost(model)
        self.workshop = FakeWorkshop()
        self.clock = FakeClock()
        self.phases: list[ModelPhase] = []
        self.notes: list[str] = []
        self.kept: list[HardReason] = []
        self.wanted: DesiredModel | None = None
        self.wait_ms = 0
        """What each look of a second model waits for the part that is judged."""
        self.updater = self.make_updater(model)

    def _give_way(self) -> None:
        self.clock.now_ns += self.wait_ms * 10**6

    def make_updater(self, active: LoadedModel) -> Updater:
        hooks = UpdaterHooks(
            on_change=lambda: self.phases.append(self.updater.status.phase),
            note=lambda code, _text: self.notes.append(code),
            keep_picture=lambda _cycle, reason: self.kept.append(reason),
            give_way=self._give_way,
        )
        return Updater(
            store=self.store,
            source=self.source,
            host=self.host,
            active=active,
            workshop=self.workshop,
            clock=self.clock,
            hooks=hooks,
        )

    def publish(
        self, release: int, answer: Answer, *, categories: tuple[str, ...] = ("bolt",)
    ) -> DesiredModel:
        ref = self.source.publish(release, f"model {release}")
        self.workshop.detectors[release] = FakeDetector(answer, categories)
        return desired_of(ref)

    def desire(self, desired: DesiredModel) -> None:
        self.wanted = desired
        self.updater.desire(desired)

    def is_at(self, *phases: ModelPhase) -> bool:
        status = self.updater.status
        return status.desired == self.wanted and status.phase in phases

    def inspect(self, *, faulty: bool = False, inference_ms: float = 5.0) -> None:
        """One part: judged by what runs, then seen by the updater."""
        model = self.host.active
        assert model is not None
        found = model.detector.infer(PICTURE)
        label_map = LabelMap(model.detector.categories, model.detector.thresholds)
        verdict, reasons = judge_view([found], VIEW, RECIPE, label_map)
        if faulty:
            fault = Reason(code=ReasonCode.MODEL_FAULT, text="NaN")
            verdict, reasons = Verdict.NOT_DECIDABLE, (fault,)
        self.updater.observe(
            CycleOutcome(
                result_id=UUID(int=1),
                job_id=UUID(int=2),
                trigger_id="T1",
                part_id="P1",
                recipe=RECIPE,
                view=VIEW,
                verdict=verdict,
                reasons=reasons,
                decided_at=NOON,
                model=model.ref,
                categories=model.detector.categories,
                thresholds=model.detector.thresholds,
                frame=Frame(PICTURE, 1, NOON),
                detections=found,
                timings=CycleTimings(inference_ms=inference_ms),
            )
        )

    def run_until(
        self, *phases: ModelPhase, faulty_release: int | None = None, slow_release: int = -1
    ) -> None:
        """Inspect parts until the updater says one of these phases."""
        deadline = time.monotonic() + WAIT_S
        while not self.is_at(*phases):
            assert time.monotonic() < deadline, (self.updater.status, self.phases)
            release = self.host.active.ref.release if self.host.active else None
            self.inspect(
                faulty=release == faulty_release,
                inference_ms=100.0 if release == slow_release else 5.0,
            )
            time.sleep(0.002)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, (self.updater.status, self.phases)
            time.sleep(0.002)

    @property
    def release(self) -> int | None:
        return self.host.active.ref.release if self.host.active else None


def desired_of(ref: ModelRef, *, mode: FollowMode = FollowMode.FOLLOW) -> DesiredModel:
    return DesiredModel(
        model=ref,
        rollout_id=f"rollout-{ref.release}",
        mode=mode,
        canary_parts=6,
        shadow_parts=5,
        issued_at=NOON,
    )


@pytest.fixture
def cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cell]:
    monkeypatch.setattr(updater_module, "POLL_S", 0.01)
    made = Cell(tmp_path)
    made.updater = made.make_updater(made.host.active)  # type: ignore[arg-type]
    made.updater._niceness = 0
    made.updater.start()
    yield made
    made.updater.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "updater"]


def test_good_model_goes_through_every_phase_and_becomes_the_good_one(cell: Cell) -> None:
    cell.desire(cell.publish(1, finds(0)))
    cell.wait_for(lambda: cell.is_at(ModelPhase.SHADOW))
    assert cell.release == 0, "nothing was swapped while no part has come"
    cell.run_until(ModelPhase.ACTIVE)
    assert cell.phases == [
        ModelPhase.DOWNLOADING,
        ModelPhase.VERIFYING,
        ModelPhase.COMPILING,
        ModelPhase.CHECKING,
        ModelPhase.SHADOW,
        ModelPhase.CANARY,
        ModelPhase.ACTIVE,
    ]
    assert cell.release == 1
    assert [ref.release for ref in cell.store.state.good] == [1]
    assert cell.first.is_closed


def test_bundle_that_runs_already_only_gets_its_release_number(cell: Cell) -> None:
    active = cell.host.active
    assert active is not None
    ref = active.ref.model_copy(update={"release": 4})
    cell.desire(desired_of(ref))
    cell.wait_for(lambda: cell.is_at(ModelPhase.ACTIVE))
    assert cell.release == 4
    assert cell.source.fetched == []
    assert not cell.first.is_closed
    cell.inspect()


def test_server_that_is_away_is_tried_again_and_is_no_failure(cell: Cell) -> None:
    cell.source.faults = [ReleaseUnavailableError("connection refused")] * 2
    cell.desire(cell.publish(1, finds(0)))
    cell.wait_for(lambda: "refused" in cell.updater.status.error)
    assert cell.updater.status.phase is ModelPhase.DOWNLOADING
    cell.clock.now_ns += 10 * 10**9
    cell.wait_for(lambda: len(cell.source.faults) == 0)
    cell.clock.now_ns += 10 * 10**9
    cell.run_until(ModelPhase.ACTIVE)
    assert cell.release == 1


def test_refused_metadata_keeps_the_running_model_and_is_not_held_against_the_bundle(
    cell: Cell,
) -> None:
    cell.source.faults = [UpdateError("update metadata was refused: expired")]
    desired = cell.publish(1, finds(0))
    cell.desire(desired)
    cell.run_until(ModelPhase.FAILED)
    assert cell.release == 0
    assert not cell.store.is_quarantined(desired.model.bundle_id)
    cell.clock.now_ns += 1_000 * 10**9
    cell.run_until(ModelPhase.ACTIVE)


def test_model_that_fails_its_golden_check_is_quarantined_and_never_swapped_in(cell: Cell) -> None:
    cell.workshop.fault = "golden check failed: bolt is gone"
    desired = cell.publish(1, finds(0))
    cell.desire(desired)
    cell.run_until(ModelPhase.FAILED)
    assert cell.host.history == [0]
    assert "golden" in (cell.store.quarantine_cause(desired.model.bundle_id) or "")


def test_model_that_judges_otherwise_is_stopped_in_the_shadow(cell: Cell) -> None:
    desired = cell.publish(1, finds())
    cell.desire(desired)
    cell.run_until(ModelPhase.FAILED)
    assert "shadow: disagrees with the model before on 5 of 5 parts" in cell.updater.status.error
    assert cell.host.history == [0]
    assert cell.kept[0] is HardReason.SHADOW_DISAGREEMENT
    assert cell.workshop.detectors[1].is_closed


def test_model_that_answers_nan_is_stopped_in_the_shadow(cell: Cell) -> None:
    cell.desire(cell.publish(1, finds(0, score=float("nan"))))
    cell.run_until(ModelPhase.FAILED)
    assert "numbers that are none" in cell.updater.status.error


def every_third_torn() -> Answer:
    """To the old model it is a bolt; the new one finds it torn, and so misses the bolt."""
    parts = itertools.count()

    def answer(image: Image) -> Detections:
        return finds(next(parts) % 3 == 0)(image)

    return answer


def test_model_that_has_learned_a_new_defect_is_not_held_to_disagree(cell: Cell) -> None:
    for _ in range(20):
        cell.inspect()
    cell.desire(cell.publish(1, every_third_torn(), categories=("bolt", "torn")))
    cell.run_until(ModelPhase.ACTIVE, ModelPhase.FAILED, ModelPhase.ROLLED_BACK)
    assert (cell.release, cell.updater.status.error) == (1, "")
    assert cell.kept == []


def test_model_that_fails_in_its_canary_window_is_rolled_back_by_itself(cell: Cell) -> None:
    desired = cell.publish(1, finds(0))
    cell.desire(desired)
    cell.run_until(ModelPhase.ROLLED_BACK, faulty_release=1)
    assert cell.host.history == [0, 1, 0]
    assert cell.store.is_quarantined(desired.model.bundle_id)
    assert "parts not judged: NaN" in cell.updater.status.error
    assert cell.workshop.detectors[1].is_closed
    assert not cell.first.is_closed
    cell.inspect()


@pytest.mark.parametrize("wait_ms", [0, 60])
def test_model_that_is_too_slow_is_rolled_back(cell: Cell, wait_ms: int) -> None:
    cell.wait_ms = wait_ms
    for _ in range(10):
        cell.inspect()
    cell.desire(cell.publish(1, finds(0)))
    cell.run_until(ModelPhase.ROLLED_BACK, slow_release=1)
    assert "inference takes 100.0 ms, 5.0 ms before" in cell.updater.status.error


def test_quarantined_bundle_is_refused_under_a_new_release_number_too(cell: Cell) -> None:
    desired = cell.publish(1, finds())
    cell.desire(desired)
    cell.run_until(ModelPhase.FAILED)
    again = desired.model.model_copy(update={"release": 2})
    cell.desire(desired_of(again))
    cell.wait_for(lambda: "quarantined" in cell.updater.status.error)
    assert cell.host.history == [0]


def test_release_that_is_not_newer_is_refused(cell: Cell) -> None:
    cell.desire(cell.publish(5, finds(0)))
    cell.run_until(ModelPhase.ACTIVE)
    cell.desire(cell.publish(3, finds(0)))
    cell.run_until(ModelPhase.FAILED)
    assert "not newer" in cell.updater.status.error
    assert cell.release == 5


def test_step_back_to_a_bundle_that_was_good_here_needs_no_windows(cell: Cell) -> None:
    first = cell.publish(1, finds(0))
    for desired in (first, cell.publish(2, finds(0))):
        cell.desire(desired)
        cell.run_until(ModelPhase.ACTIVE)
    cell.workshop.detectors[3] = FakeDetector(finds(0))
    back = desired_of(first.model.model_copy(update={"release": 3}))
    cell.phases.clear()
    cell.desire(back)
    cell.wait_for(lambda: cell.is_at(ModelPhase.ACTIVE))
    assert cell.release == 3
    assert ModelPhase.SHADOW not in cell.phases
    assert cell.source.fetched == [1, 2]


def test_pause_holds_and_is_remembered_over_a_restart(cell: Cell) -> None:
    ref = cell.publish(1, finds(0)).model
    cell.desire(desired_of(ref, mode=FollowMode.PAUSE))
    cell.run_until(ModelPhase.ACTIVE)
    assert cell.host.history == [0]
    again = ModelStore(cell.folder / "store", baseline=cell.folder / "baseline")
    assert again.state.desired is not None
    assert again.state.desired.mode is FollowMode.PAUSE


def test_newer_wish_ends_the_shadow_window_of_an_older_one(cell: Cell) -> None:
    cell.desire(cell.publish(1, finds(0)))
    cell.wait_for(lambda: cell.is_at(ModelPhase.SHADOW))
    newer = cell.publish(2, finds(0))
    cell.desire(newer)
    cell.run_until(ModelPhase.ACTIVE)
    assert cell.host.history == [0, 2]
    assert cell.workshop.detectors[1].is_closed


def test_newer_wish_during_the_canary_window_takes_the_old_model_back_first(cell: Cell) -> None:
    first = cell.publish(1, finds(0))
    cell.desire(first)
    cell.run_until(ModelPhase.CANARY)
    newer = cell.publish(2, finds(0))
    cell.desire(newer)
    cell.run_until(ModelPhase.ACTIVE)
    assert cell.host.history == [0, 1, 0, 2]
    assert not cell.store.is_quarantined(first.model.bundle_id)


def test_line_that_makes_no_pause_keeps_the_old_model(cell: Cell) -> None:
    cell.host.refusal = "no pause between two cycles"
    desired = cell.publish(1, finds(0))
    cell.desire(desired)
    cell.run_until(ModelPhase.FAILED)
    assert "no pause" in cell.updater.status.error
    assert cell.release == 0
    assert not cell.store.is_quarantined(desired.model.bundle_id)
    assert cell.store.state.trial is None


def test_model_that_does_not_load_here_is_quarantined(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_stored: StoredModel) -> LoadedModel:
        raise ModelFault("OpenVINO refuses the model")

    monkeypatch.setattr(cell.workshop, "load", refuse)
    desired = cell.publish(1, finds(0))
    cell.desire(desired)
    cell.run_until(ModelPhase.FAILED)
    assert cell.store.is_quarantined(desired.model.bundle_id)


def test_stop_during_the_canary_window_is_not_held_against_the_model(cell: Cell) -> None:
    desired = cell.publish(1, finds(0))
    cell.desire(desired)
    cell.run_until(ModelPhase.CANARY)
    cell.updater.stop()
    assert cell.store.state.trial is None
    assert not cell.store.is_quarantined(desired.model.bundle_id)
    assert cell.store.state.good == ()


def test_stop_ends_a_check_at_once_and_does_not_hold_it_against_the_model(cell: Cell) -> None:
    cell.workshop.is_slow = True
    desired = cell.publish(1, finds(0))
    cell.desire(desired)
    cell.wait_for(lambda: cell.is_at(ModelPhase.COMPILING))
    began_s = time.monotonic()
    cell.updater.stop()
    assert time.monotonic() - began_s < WAIT_S / 2
    assert not cell.store.is_quarantined(desired.model.bundle_id)
    assert cell.store.state.desired == desired, "the next start goes on with it"

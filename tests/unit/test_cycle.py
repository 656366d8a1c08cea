"""One cycle: whatever goes wrong, a part that was not seen is not passed."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from edge_agent.clock import NS_PER_MS
from edge_agent.cycle import CycleReport, CycleTask, Vision, run_cycle
from edge_agent.errors import BrokenFrameError, CameraFault, GrabTimeoutError, StationFault
from edge_agent.ports import Frame, Image, LoadedModel
from models.contract.bundle import BundleManifest, Category, ModelRef
from models.contract.messages import ReasonCode, ResultState, Verdict
from models.contract.recipe import ForbiddenDefect, NOfM, Recipe, View
from models.detector.detections import Detections

VIEW = View(forbidden=(ForbiddenDefect(category="scratch"),))
NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Clock:
    """Stands still unless somebody moves it."""

    def __init__(self) -> None:
        self.now_ms = 0

    def monotonic_ns(self) -> int:
        return self.now_ms * NS_PER_MS

    def now(self) -> datetime:
        return NOW


class Camera:
    camera_id = "fake"

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.fault: Exception | None = None
        self.takes_ms = 0
        self.is_frozen = False
        self.timeouts_s: list[float] = []
        self.features: list[Mapping[str, object]] = []
        self._rng = np.random.default_rng(0)
        self._image = self._expose()

    def _expose(self) -> Image:
        return self._rng.integers(50, 200, (48, 64, 3)).astype(np.uint8)

    def open(self) -> None: ...

    def close(self) -> None: ...

    def probe(self) -> None: ...

    def configure(self, features: Mapping[str, object]) -> None:
        self.features.append(features)

    def grab(self, timeout_s: float, *, part_id: str | None = None) -> Frame:
        self.timeouts_s.append(timeout_s)
        self.clock.now_ms += self.takes_ms
        if self.fault is not None:
            raise self.fault
        if not self.is_frozen:
            self._image = self._expose()
        return Frame(self._image.copy(), 1, NOW, part_id or "")


class Detector:
    categories = ("scratch",)

    def __init__(self) -> None:
        self.thresholds = {"scratch": 0.5}
        self.scores: list[list[float]] = []
        self.num_looks = 0

    def infer(self, image: Image) -> Detections:  # noqa: ARG002
        self.num_looks += 1
        scores = self.scores.pop(0) if self.scores else []
        boxes = np.tile(np.array([[1, 1, 9, 9]], np.float32), (len(scores), 1))
        return Detections(boxes, np.array(scores, np.float32), np.zeros(len(scores), np.int64))

    def close(self) -> None: ...


class Bench:
    def __init__(self) -> None:
        self.clock = Clock()
        self.camera = Camera(self.clock)
        self.detector = Detector()
        self.vision = Vision(self.camera, self.clock)
        self.num_acquired = 0

    def run(
        self, part_id: str = "p1", *, view: View = VIEW, n_of_m: NOfM | None = None
    ) -> CycleReport:
        recipe = Recipe(
            recipe_id="plate",
            version=1,
            part_type="plate",
            image_width_px=64,
            image_height_px=48,
            n_of_m=n_of_m or NOfM(),
            views=(view,),
        )
        task = CycleTask(part_id, recipe, view, 100 * NS_PER_MS, 5.0, self._acquired)
        return run_cycle(task, self.vision, self._model())

    def _acquired(self) -> None:
        self.num_acquired += 1

    def _model(self) -> LoadedModel:
        manifest = BundleManifest(
            bundle_id="0" * 16,
            name="fake",
            created_at=NOW,
            categories=(Category(name="scratch"),),
            thresholds={},
            files={},
        )
        ref = ModelRef(release=0, bundle_id=manifest.bundle_id, name="fake")
        return LoadedModel(ref, manifest, self.detector, Path())


@pytest.fixture
def bench() -> Bench:
    return Bench()


def outcome(report: CycleReport) -> tuple[Verdict, ReasonCode | None]:
    reasons = report.decision.reasons
    return report.decision.verdict, reasons[0].code if reasons else None


def test_good_part_passes(bench: Bench) -> None:
    report = bench.run()
    assert outcome(report) == (Verdict.OK, None)
    assert bench.num_acquired == 1
    assert report.frame is not None


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        pytest.param(GrabTimeoutError("fake", 1.0), ReasonCode.NO_FRAME, id="no frame"),
        pytest.param(BrokenFrameError("fake", "torn"), ReasonCode.CAMERA_FAULT, id="torn frame"),
    ],
)
def test_part_we_could_not_see_is_never_passed(
    bench: Bench, fault: Exception, code: ReasonCode
) -> None:
    bench.camera.fault = fault
    assert outcome(bench.run()) == (Verdict.NOT_DECIDABLE, code)
    assert bench.num_acquired == 0


def test_lost_camera_is_the_stations_fault(bench: Bench) -> None:
    bench.camera.fault = CameraFault("fake", "unplugged")
    with pytest.raises(StationFault):
        bench.run()


def test_wait_for_a_picture_ends_with_the_deadline(bench: Bench) -> None:
    bench.clock.now_ms = 70
    bench.run()
    assert bench.camera.timeouts_s == [pytest.approx(0.03)]


def test_picture_that_comes_too_late_is_not_looked_at(bench: Bench) -> None:
    bench.camera.takes_ms = 100
    assert outcome(bench.run()) == (Verdict.NOT_DECIDABLE, ReasonCode.DEADLINE)
    assert bench.detector.num_looks == 0


def test_camera_that_shows_the_last_part_again_is_noticed(bench: Bench) -> None:
    bench.camera.is_frozen = True
    first, again, other = bench.run("p1"), bench.run("p1"), bench.run("p2")
    assert outcome(first) == outcome(again) == (Verdict.OK, None), "the same part, once more"
    assert outcome(other) == (Verdict.NOT_DECIDABLE, ReasonCode.FROZEN)


def test_model_that_answers_no_numbers_passes_nothing(bench: Bench) -> None:
    bench.detector.scores = [[float("nan")]]
    report = bench.run()
    assert outcome(report) == (Verdict.NOT_DECIDABLE, ReasonCode.MODEL_FAULT)
    assert report.decision.result_state is ResultState.FAILED


def test_n_of_m_takes_m_pictures_and_tells_once(bench: Bench) -> None:
    bench.detector.scores = [[0.9], [], [0.9]]
    report = bench.run(n_of_m=NOfM(n=2, m=3))
    assert outcome(report) == (Verdict.NOT_OK, ReasonCode.DEFECT)
    assert (len(bench.camera.timeouts_s), bench.num_acquired) == (3, 1)


def test_camera_is_set_up_as_the_view_wants_it(bench: Bench) -> None:
    view = View(name="close", camera_features={"ExposureTime": 900})
    bench.run(view=view)
    assert bench.camera.features == [{"ExposureTime": 900}]

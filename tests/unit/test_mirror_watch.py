"""A part is looked at once more in its mirror image, and nobody waits for that."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from edge_agent.errors import ModelFault
from edge_agent.mirror_watch import MirrorWatch, flips
from edge_agent.ports import CycleOutcome, Frame, Image, LoadedModel
from models.contract.bundle import BundleManifest, Category, ModelRef
from models.contract.messages import HardReason, Verdict
from models.contract.recipe import Recipe, View
from models.detector.detections import Detections

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
WIDTH = 100
RECIPE = Recipe(
    recipe_id="plate",
    version=1,
    part_type="plate",
    image_width_px=WIDTH,
    image_height_px=80,
    views=(View(),),
)
REF = ModelRef(release=1, bundle_id="0" * 16, name="plate")
IMAGE = np.arange(80 * WIDTH * 3, dtype=np.uint32).reshape(80, WIDTH, 3).astype(np.uint8)


def found(*boxes: tuple[int, int, int, int]) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(len(boxes), 0.9, np.float32),
        np.zeros(len(boxes), np.int64),
    )


class MirrorDetector:
    categories = ("bolt",)
    thresholds = {"bolt": 0.5}  # noqa: RUF012 - never changed

    def __init__(self, answer: Detections) -> None:
        self.answer = answer
        self.seen: list[Image] = []
        self.is_closed = False

    def infer(self, image: Image) -> Detections:
        self.seen.append(image)
        return self.answer

    def close(self) -> None:
        self.is_closed = True


def cycle(ref: ModelRef = REF) -> CycleOutcome:
    return CycleOutcome(
        result_id=UUID(int=1),
        job_id=UUID(int=2),
        trigger_id="t1",
        part_id="p1",
        recipe=RECIPE,
        view=View(),
        verdict=Verdict.OK,
        reasons=(),
        decided_at=NOON,
        model=ref,
        categories=("bolt",),
        thresholds={"bolt": 0.5},
        frame=Frame(IMAGE, 1, NOON),
        detections=found((10, 10, 30, 30)),
    )


@pytest.mark.parametrize(
    ("answer", "is_flipped"),
    [
        pytest.param(found((70, 10, 90, 30)), False, id="the same box, mirrored"),
        pytest.param(found((10, 10, 30, 30)), True, id="a box at another place"),
        pytest.param(found(), True, id="nothing"),
    ],
)
def test_mirror_image_must_show_the_same_boxes(answer: Detections, is_flipped: bool) -> None:
    detector = MirrorDetector(answer)
    assert flips(cycle(), detector) is is_flipped
    assert np.array_equal(detector.seen[0][:, ::-1], IMAGE)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def model_of(ref: ModelRef, detector: MirrorDetector) -> LoadedModel:
    manifest = BundleManifest(
        bundle_id=ref.bundle_id,
        name="plate",
        created_at=NOON,
        categories=(Category(name="bolt"),),
        thresholds={"bolt": 0.5},
        files={},
    )
    return LoadedModel(ref, manifest, detector, Path("nowhere"))


def test_disagreement_is_kept_and_another_model_takes_the_place_of_the_first() -> None:
    kept: list[tuple[CycleOutcome, HardReason]] = []
    detectors: list[MirrorDetector] = []

    def load(ref: ModelRef) -> LoadedModel:
        detectors.append(MirrorDetector(found()))
        return model_of(ref, detectors[-1])

    watch = MirrorWatch(load=load, keep=lambda c, r: kept.append((c, r)), ratio=1.0)
    watch.start()
    first, second = cycle(), cycle(REF.model_copy(update={"bundle_id": "1" * 16}))
    for number, each in enumerate((first, second), start=1):
        watch.observe(each)
        wait_until(lambda wanted=number: len(kept) == wanted)  # type: ignore[misc]
    watch.stop()
    assert kept == [
        (first, HardReason.FLIP_DISAGREEMENT),
        (second, HardReason.FLIP_DISAGREEMENT),
    ]
    assert [detector.is_closed for detector in detectors] == [True, True]


def test_line_never_waits_and_a_model_that_does_not_load_does_no_harm() -> None:
    is_held, may_go = threading.Event(), threading.Event()

    def load(_ref: ModelRef) -> LoadedModel:
        is_held.set()
        may_go.wait(5)
        raise ModelFault("no memory")

    watch = MirrorWatch(load=load, keep=lambda *_: pytest.fail("kept"), ratio=1.0)
    watch.start()
    for _ in range(100):
        watch.observe(cycle())
    assert is_held.wait(5)
    may_go.set()
    watch.stop()
    assert watch.num_looks == 0

"""The agent's cycle beside the bare model: what judging a part costs on top of the inference."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import openvino.properties as ov_properties
from openvino.properties import hint

from edge_agent.adapters.detector import Loading, load_model
from edge_agent.clock import NS_PER_S, SystemClock
from edge_agent.cycle import CycleTask, Vision, run_cycle
from edge_agent.errors import ConfigurationError
from edge_agent.ports import Frame, Image, LoadedModel
from models.contract.bundle import MODEL_NAME
from models.contract.recipe import ForbiddenDefect, ImageChecks, Recipe, View
from models.detector.preprocess import resize_to_input
from models.detector.spec import read_spec

NUM_WARM_UP = 20
NUM_NOISE_PICTURES = 8


@dataclass(frozen=True, slots=True)
class BenchReport:
    """Milliseconds at the median and at the 99th percentile; medians over the rounds."""

    bundle_id: str
    rounds: int
    cycles: int
    infer_ms_p50: float
    infer_ms_p99: float
    cycle_ms_p50: float
    cycle_ms_p99: float
    overhead_ms_p50: float
    cycle_over_infer_ratio: float

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


class MemoryCamera:
    """Gives pictures that are in memory already."""

    camera_id = "memory"

    def __init__(self, images: list[Image]) -> None:
        self._images = images
        self._num_frames = 0

    def open(self) -> None:
        """Nothing to open."""

    def configure(self, features: Mapping[str, float | int | str | bool]) -> None:
        """Nothing to configure."""

    def grab(self, timeout_s: float, *, part_id: str | None = None) -> Frame:  # noqa: ARG002
        """The next picture."""
        self._num_frames += 1
        image = self._images[self._num_frames % len(self._images)]
        return Frame(image, self._num_frames, datetime.now(UTC))

    def close(self) -> None:
        """Nothing to close."""


def run_bench(
    bundle_dir: Path, *, loading: Loading, rounds: int = 5, cycles: int = 100
) -> BenchReport:
    """Time bare inference and the whole cycle in turns on the same pictures.

    Args:
        bundle_dir: the model.
        loading: threads and precision, the same for both.
        rounds: bare and whole alternate this many times.
        cycles: of each in a round.

    Raises:
        ConfigurationError: the bundle cannot be used.
    """
    model = load_model(bundle_dir, loading=loading)
    images = _pictures(model)
    spec = read_spec(bundle_dir)
    bare = _bare_request(bundle_dir, loading)
    inputs = [resize_to_input(image, spec)[None] for image in images]
    task, vision = _task(model, images), Vision(MemoryCamera(images), SystemClock())
    bare_ms, whole_ms = [], []
    for turn in range(rounds + 1):
        # The first round warms up.
        num = cycles if turn else NUM_WARM_UP
        bare_round = [_time_bare(bare, inputs[i % len(inputs)]) for i in range(num)]
        whole_round = [_time_whole(task, vision, model) for _ in range(num)]
        if turn:
            bare_ms.append(np.percentile(bare_round, (50, 99)))
            whole_ms.append(np.percentile(whole_round, (50, 99)))
    infer, cycle = np.median(bare_ms, axis=0), np.median(whole_ms, axis=0)
    return BenchReport(
        bundle_id=model.ref.bundle_id,
        rounds=rounds,
        cycles=cycles,
        infer_ms_p50=round(float(infer[0]), 3),
        infer_ms_p99=round(float(infer[1]), 3),
        cycle_ms_p50=round(float(cycle[0]), 3),
        cycle_ms_p99=round(float(cycle[1]), 3),
        overhead_ms_p50=round(float(cycle[0] - infer[0]), 3),
        cycle_over_infer_ratio=round(float(cycle[0] / infer[0]), 3),
    )


def _time_bare(request: ov.InferRequest, data: Image) -> float:
    before = time.perf_counter()
    request.infer([ov.Tensor(data, shared_memory=True)])
    return (time.perf_counter() - before) * 1000


def _time_whole(task: CycleTask, vision: Vision, model: LoadedModel) -> float:
    before = time.perf_counter()
    run_cycle(task, vision, model)
    return (time.perf_counter() - before) * 1000


def _bare_request(bundle_dir: Path, loading: Loading) -> ov.InferRequest:
    options = {
        hint.performance_mode(): hint.PerformanceMode.LATENCY,
        hint.inference_precision(): loading.precision,
        ov_properties.num_streams(): 1,
        ov_properties.inference_num_threads(): loading.num_threads,
    }
    compiled = ov.Core().compile_model(str(bundle_dir / MODEL_NAME), "CPU", options)
    return compiled.create_infer_request()


def _pictures(model: LoadedModel) -> list[Image]:
    """The bundle's golden pictures: what the model was made for; noise where there are none."""
    found = [cv2.imread(str(model.bundle_dir / golden.file)) for golden in model.manifest.golden]
    images = [np.asarray(image, np.uint8) for image in found if image is not None]
    if images:
        # The camera's sensor never gives the same picture twice.
        return [*images, *(np.ascontiguousarray(image[:, ::-1]) for image in images)]
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (512, 640, 3), np.uint8) for _ in range(NUM_NOISE_PICTURES)]


def _task(model: LoadedModel, images: list[Image]) -> CycleTask:
    heights, widths = {image.shape[0] for image in images}, {image.shape[1] for image in images}
    if len(heights) > 1 or len(widths) > 1:
        raise ConfigurationError("the golden pictures differ in size")
    view = View(forbidden=tuple(ForbiddenDefect(category=c) for c in model.detector.categories))
    recipe = Recipe(
        recipe_id="bench",
        version=1,
        part_type="bench",
        image_width_px=widths.pop(),
        image_height_px=heights.pop(),
        image_checks=ImageChecks(min_mean=0.0, max_saturated_ratio=1.0),
        views=(view,),
    )
    far_ns = time.monotonic_ns() + 3600 * NS_PER_S
    return CycleTask("part", recipe, view, far_ns, 1.0, lambda: None)

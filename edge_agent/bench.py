"""The agent's cycle beside the bare model: what judging a part costs on top of the inference.

Both look at the same pictures in turns of a few, so that whatever else the machine does meets both.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import openvino as ov

from edge_agent.adapters.detector import Loading, load_model
from edge_agent.adapters.folder_camera import SUFFIXES, read_picture
from edge_agent.clock import NS_PER_S, SystemClock
from edge_agent.cycle import CycleReport, CycleTask, Vision, run_cycle
from edge_agent.errors import CameraFault, ConfigurationError, TransientError
from edge_agent.ports import Frame, Image, LoadedModel
from edge_agent.priority import share_the_interpreter
from models.contract.bundle import MODEL_NAME, CategoryKind
from models.contract.recipe import (
    ExpectedObject,
    ForbiddenDefect,
    ImageChecks,
    Recipe,
    View,
    Zone,
)
from models.detector.preprocess import resize_to_input
from models.detector.runtime import cpu_options
from models.detector.spec import read_spec

NUM_WARM_UP = 20
NUM_NOISE_PICTURES = 8
MAX_PICTURES = 8
"""In turns, as in the buffers of a camera's driver."""
TURN = 10
"""Pictures in a row for one side before it is the other's turn."""
NUM_IN_FLIGHT = 2
NUM_PAIRS = 4
"""In a round, of what two at once do bare and as a whole; one such pair varies by a tenth."""


@dataclass(frozen=True, slots=True)
class BenchReport:
    """Milliseconds and pictures a second; medians over the rounds.

    Attributes:
        bundle_id: which model.
        num_threads: of one inference.
        rounds: how often everything was measured.
        cycles: of each side in a round.
        picture_px: width and height of the pictures.
        infer_ms_p50: bare OpenVINO ``infer()``, the picture already at the network's size.
        infer_ms_p99: the same.
        cycle_ms_p50: grab from memory, check, resize, infer, judge.
        cycle_ms_p99: the same.
        overhead_ms_p50: cycle less inference.
        cycle_over_infer_ratio: cycle by inference.
        infer_per_s: two bare requests in flight, each on a thread of its own.
        cycle_per_s: two cycles in flight.
        throughput_ratio: the latter by the former.
    """

    bundle_id: str
    num_threads: int
    rounds: int
    cycles: int
    picture_px: tuple[int, int]
    infer_ms_p50: float
    infer_ms_p99: float
    cycle_ms_p50: float
    cycle_ms_p99: float
    overhead_ms_p50: float
    cycle_over_infer_ratio: float
    infer_per_s: float
    cycle_per_s: float
    throughput_ratio: float

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

    def probe(self) -> None:
        """Always there."""

    def close(self) -> None:
        """Nothing to close."""


def run_bench(
    bundle_dir: Path,
    *,
    loading: Loading,
    rounds: int = 5,
    cycles: int = 100,
    pictures: Path | None = None,
) -> BenchReport:
    """Time bare inference and the whole cycle in turns on the same pictures.

    Args:
        bundle_dir: the model.
        loading: threads and precision, the same for both.
        rounds: everything is measured this many times.
        cycles: of each side in a round.
        pictures: folder of pictures as the camera gives them; None: the bundle's golden ones.

    Raises:
        ConfigurationError: the bundle or the pictures cannot be used.
    """
    share_the_interpreter()  # as the agent does
    images = _read(pictures) if pictures is not None else None
    one = _Sides.of(bundle_dir, loading, images)
    two = _Sides.of(bundle_dir, replace(loading, num_requests=NUM_IN_FLIGHT), images)
    one.alternate(NUM_WARM_UP)
    latencies, throughputs = [], []
    for turn in range(rounds):
        bare_ms, whole_ms = one.alternate(cycles)
        latencies.append((*np.percentile(bare_ms, (50, 99)), *np.percentile(whole_ms, (50, 99))))
        throughputs.append(two.rates(cycles, starts_bare=bool(turn % 2)))
    times, rates = np.array(latencies), np.concatenate(throughputs)
    infer_p50, infer_p99, cycle_p50, cycle_p99 = np.median(times, axis=0)
    return BenchReport(
        bundle_id=one.model.ref.bundle_id,
        num_threads=loading.num_threads,
        rounds=rounds,
        cycles=cycles,
        picture_px=one.picture_px,
        infer_ms_p50=_rounded(infer_p50),
        infer_ms_p99=_rounded(infer_p99),
        cycle_ms_p50=_rounded(cycle_p50),
        cycle_ms_p99=_rounded(cycle_p99),
        overhead_ms_p50=_rounded(np.median(times[:, 2] - times[:, 0])),
        cycle_over_infer_ratio=_rounded(np.median(times[:, 2] / times[:, 0])),
        infer_per_s=_rounded(np.median(rates[:, 0])),
        cycle_per_s=_rounded(np.median(rates[:, 1])),
        throughput_ratio=_rounded(np.median(rates[:, 1] / rates[:, 0])),
    )


def compile_bare(bundle_dir: Path, loading: Loading) -> ov.CompiledModel:
    """The bundle's network with the agent's options and nothing else of the agent.

    Several requests have a stream each, as OpenVINO's documentation has it.
    """
    options = cpu_options(loading.num_threads, loading.precision, num_streams=loading.num_requests)
    return ov.Core().compile_model(str(bundle_dir / MODEL_NAME), "CPU", options)


@dataclass(frozen=True, slots=True, eq=False)
class _Sides:
    """The same work done bare and as a whole; each call does it once more on the next picture."""

    model: LoadedModel
    bare: list[Callable[[], None]]
    """One for each request in flight."""
    whole: list[Callable[[], None]]
    picture_px: tuple[int, int]

    @classmethod
    def of(cls, bundle_dir: Path, loading: Loading, images: list[Image] | None) -> "_Sides":
        model, spec = load_model(bundle_dir, loading=loading), read_spec(bundle_dir)
        images = images or _golden_pictures(model)
        inputs = [ov.Tensor(np.ascontiguousarray(resize_to_input(i, spec)[None])) for i in images]
        compiled, task = compile_bare(bundle_dir, loading), _task(model, images)
        seats = range(loading.num_requests)
        return cls(
            model,
            [_bare(compiled.create_infer_request(), inputs) for _ in seats],
            [_whole(task, Vision(MemoryCamera(images), SystemClock()), model) for _ in seats],
            (task.recipe.image_width_px, task.recipe.image_height_px),
        )

    def alternate(self, count: int) -> tuple[list[float], list[float]]:
        """Milliseconds of ``count`` bare calls and of as many whole ones."""
        times: tuple[list[float], list[float]] = ([], [])
        while len(times[1]) < count:
            for found, work in zip(times, (self.bare[0], self.whole[0]), strict=True):
                found.extend(_time(work) for _ in range(TURN))
        return times

    def rates(self, count: int, *, starts_bare: bool) -> npt.NDArray[np.float64]:
        """``(NUM_PAIRS, 2)`` calls a second, bare and whole, each of all requests at once."""
        found = []
        for _ in range(NUM_PAIRS):
            order = (self.bare, self.whole) if starts_bare else (self.whole, self.bare)
            pair = [_per_s(works, count) for works in order]
            found.append(pair if starts_bare else pair[::-1])
            starts_bare = not starts_bare
        return np.array(found)


def _bare(request: ov.InferRequest, inputs: list[ov.Tensor]) -> Callable[[], None]:
    turns = cycle(inputs)

    def work() -> None:
        request.infer([next(turns)])

    return work


def _whole(task: CycleTask, vision: Vision, model: LoadedModel) -> Callable[[], None]:
    return lambda: _expect_verdict(run_cycle(task, vision, model))


def _expect_verdict(report: CycleReport) -> None:
    if report.detections is None:
        raise ConfigurationError(f"a picture was not looked at: {report.decision.reasons}")


def _time(work: Callable[[], None]) -> float:
    before = time.perf_counter()
    work()
    return (time.perf_counter() - before) * 1000


def _per_s(works: list[Callable[[], None]], count: int) -> float:
    """Calls a second with one thread for each of ``works``."""

    def repeat(work: Callable[[], None]) -> None:
        for _ in range(count):
            work()

    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    before = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(works) * count / (time.perf_counter() - before)


def _rounded(value: float) -> float:
    return round(float(value), 3)


def _read(folder: Path) -> list[Image]:
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    try:
        images = [read_picture(path, "bench") for path in paths[:MAX_PICTURES]]
    except (TransientError, CameraFault) as error:
        cause = str(error).removeprefix("camera bench: ")
        raise ConfigurationError(f"{cause} (in {folder})") from error
    if len(images) < 2:  # the same picture twice in a row would count as frozen
        raise ConfigurationError(f"pictures in {folder}: {len(images)}; give at least two")
    return images


def _golden_pictures(model: LoadedModel) -> list[Image]:
    """The bundle's golden pictures: what the model was made for; noise where there are none."""
    found = [cv2.imread(str(model.bundle_dir / golden.file)) for golden in model.manifest.golden]
    images = [np.asarray(image, np.uint8) for image in found if image is not None]
    if len(images) > 1:
        return images
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (512, 640, 3), np.uint8) for _ in range(NUM_NOISE_PICTURES)]


def _task(model: LoadedModel, images: list[Image]) -> CycleTask:
    """A recipe as strict as a real one: every object of the first picture in its zone."""
    heights, widths = {image.shape[0] for image in images}, {image.shape[1] for image in images}
    if len(heights) > 1 or len(widths) > 1:
        raise ConfigurationError("the pictures differ in size; give some of one camera")
    kinds = {category.name: category.kind for category in model.manifest.categories}
    seen = model.detector.infer(images[0]).at_least(0.5)
    names = [model.detector.categories[class_id] for class_id in seen.class_ids]
    expected = tuple(
        ExpectedObject(name=f"{name} {number}", category=name, zone=_around(box))
        for number, (name, box) in enumerate(zip(names, seen.boxes.tolist(), strict=True))
        if kinds[name] is CategoryKind.OBJECT
    )
    defects = [name for name, kind in kinds.items() if kind is CategoryKind.DEFECT]
    view = View(expected=expected, forbidden=tuple(ForbiddenDefect(category=c) for c in defects))
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


def _around(box: list[float]) -> Zone:
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    x, y = max(x1 - width / 2, 0), max(y1 - height / 2, 0)
    return Zone(x=x, y=y, width=2 * width, height=2 * height)

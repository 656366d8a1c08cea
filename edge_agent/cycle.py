"""One inspection cycle: grab, check, detect, judge. Runs on the vision thread."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from edge_agent.clock import NS_PER_MS, NS_PER_S
from edge_agent.errors import GrabTimeoutError, TransientError
from edge_agent.image_checks import check_picture
from edge_agent.jobs import ViewDecision
from edge_agent.judgement import LabelMap, judge_view
from edge_agent.ports import Camera, Clock, CycleTimings, Frame, Image, LoadedModel
from models.contract.messages import Reason, ReasonCode, ResultState, Verdict
from models.contract.recipe import Recipe, View
from models.detector.detections import Detections, NotFiniteError


@dataclass(frozen=True, slots=True)
class CycleTask:
    """What to look at, and until when the answer is worth something."""

    part_id: str
    recipe: Recipe
    view: View
    answer_by_ns: int
    grab_timeout_s: float
    on_acquired: Callable[[], None]
    """Called once, when the last picture is taken and the robot may move."""
    on_look: Callable[[], None] = field(default=lambda: None)
    """Called when the model begins to look: from then on others may compute."""


class CycleReport(NamedTuple):
    """What came of a task."""

    decision: ViewDecision
    frame: Frame | None = None
    detections: Detections | None = None
    timings: CycleTimings = CycleTimings()


@dataclass(slots=True)
class Vision:
    """The camera, and its last picture to compare the next one with."""

    camera: Camera
    clock: Clock
    previous: Image | None = None
    previous_of: tuple[str, str] | None = None
    """Part and view of that picture."""


def run_cycle(task: CycleTask, vision: Vision, model: LoadedModel) -> CycleReport:
    """Inspect the part in front of the camera.

    A part we could not see is never passed: every `TransientError` becomes ``NOT_DECIDABLE``,
    which the PLC diverts to manual inspection.

    Raises:
        StationFault: the camera or the model is unusable; the caller drops Ready.
    """
    started_ns = vision.clock.monotonic_ns()
    try:
        frames = _grab_all(task, vision)
    except GrabTimeoutError as error:
        return undecided(ReasonCode.NO_FRAME, str(error))
    except TransientError as error:
        return undecided(ReasonCode.CAMERA_FAULT, str(error))
    task.on_acquired()
    grab_ms = (vision.clock.monotonic_ns() - started_ns) / NS_PER_MS
    # The same part looked at once more may well give the same picture; another part never.
    shown = (task.part_id, task.view.name)
    previous = None if vision.previous_of == shown else vision.previous
    vision.previous, vision.previous_of = frames[-1].image, shown
    return judge_frames(frames, task, model, clock=vision.clock, previous=previous, grab_ms=grab_ms)


def judge_frames(
    frames: list[Frame],
    task: CycleTask,
    model: LoadedModel,
    *,
    clock: Clock,
    previous: Image | None = None,
    grab_ms: float = 0.0,
) -> CycleReport:
    """Check, detect and judge pictures that are there already.

    Args:
        frames: pictures of one view, at least one.
        task: recipe, view and the time until which the answer is worth something.
        model: that judges.
        clock: of the durations.
        previous: the camera's picture before, to notice one that repeats itself.
        grab_ms: what taking the pictures took.

    Raises:
        ModelFault: the model is unusable.
    """
    found, inference_ns = [], 0
    for frame in frames:
        reason = check_picture(frame.image, task.recipe, previous)
        previous = frame.image
        if reason is not None:
            return CycleReport(_undecided((reason,)), frame, timings=CycleTimings(grab_ms))
        if clock.monotonic_ns() >= task.answer_by_ns:
            late = _late("no time was left to look at the picture")
            return CycleReport(late, frame, timings=CycleTimings(grab_ms))
        task.on_look()
        before_ns = clock.monotonic_ns()
        found.append(model.detector.infer(frame.image))
        inference_ns += clock.monotonic_ns() - before_ns
    judged_ns = clock.monotonic_ns()
    decision = _decide(found, task, model)
    judgement_ms = (clock.monotonic_ns() - judged_ns) / NS_PER_MS
    timings = CycleTimings(grab_ms, inference_ns / NS_PER_MS, judgement_ms)
    return CycleReport(decision, frames[-1], found[-1], timings)


def undecided(code: ReasonCode, text: str, *, failed: bool = False) -> CycleReport:
    """A report without a picture."""
    state = ResultState.FAILED if failed else ResultState.COMPLETED
    return CycleReport(_undecided((Reason(code=code, text=text[:200]),), state))


def _grab_all(task: CycleTask, vision: Vision) -> list[Frame]:
    vision.camera.configure(task.view.camera_features)
    frames = []
    for _ in range(task.recipe.n_of_m.m):
        left_s = (task.answer_by_ns - vision.clock.monotonic_ns()) / NS_PER_S
        timeout_s = max(min(task.grab_timeout_s, left_s), 0.0)
        frames.append(vision.camera.grab(timeout_s, part_id=task.part_id))
    return frames


def _decide(found: list[Detections], task: CycleTask, model: LoadedModel) -> ViewDecision:
    try:
        return ViewDecision(*judge_view(found, task.view, task.recipe, _label_map(model)))
    except NotFiniteError as error:
        reason = Reason(code=ReasonCode.MODEL_FAULT, text=str(error))
        return _undecided((reason,), ResultState.FAILED)


@lru_cache(maxsize=2)
def _label_map(model: LoadedModel) -> LabelMap:
    return LabelMap(model.detector.categories, model.detector.thresholds)


def _late(text: str) -> ViewDecision:
    return _undecided((Reason(code=ReasonCode.DEADLINE, text=text),))


def _undecided(
    reasons: tuple[Reason, ...], state: ResultState = ResultState.COMPLETED
) -> ViewDecision:
    return ViewDecision(Verdict.NOT_DECIDABLE, reasons, state)

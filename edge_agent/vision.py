"""The vision thread: sole user of camera and model, does one thing at a time.

It is apart from the inspection thread so that the PLC is answered by the deadline, and other
triggers are refused at once, also while a camera or an inference hangs.
"""

import logging
import queue
import threading
from collections.abc import Callable
from functools import partial

import numpy as np

from edge_agent.clock import NS_PER_S
from edge_agent.cycle import CycleTask, Vision, run_cycle
from edge_agent.errors import CameraFault, FeatureRefusedError, ModelFault, StationFault
from edge_agent.mailbox import (
    CycleDone,
    Event,
    PictureTaken,
    Probed,
    Recovered,
    Rehearsed,
)
from edge_agent.ports import Camera, Clock, LoadedModel
from models.contract.recipe import Recipe

logger = logging.getLogger(__name__)

CAMERA = "camera"
MODEL = "model"
STOP_TIMEOUT_S = 5.0
MAX_HEAD_START_S = 0.001
"""Checks and resizing take half of it; a camera that needs longer waits for its hardware."""


class VisionWorker:
    """Runs cycles one after the other and posts what came of them."""

    def __init__(self, camera: Camera, clock: Clock, post: Callable[[Event], None]) -> None:
        self._vision = Vision(camera, clock)
        self._clock = clock
        self._post = post
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._busy_since_ns: int | None = None
        self._num_waiting = 0
        self._is_looking = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vision", daemon=True)

    def start(self) -> None:
        """Start the thread; the camera stays closed until `recover` opens it."""
        self._thread.start()

    def stop(self) -> None:
        """End after the running cycle and close the camera."""
        self._work.put(None)
        if self._thread.ident is not None:
            self._thread.join(STOP_TIMEOUT_S)

    @property
    def camera_id(self) -> str:
        """Name of the camera for messages."""
        return self._vision.camera.camera_id

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits; asked by the inspection thread, which gives the work."""
        return self._num_waiting == 0

    def busy_s(self) -> float:
        """How long the running piece of work has been going on."""
        since = self._busy_since_ns
        return 0.0 if since is None else (self._clock.monotonic_ns() - since) / NS_PER_S

    def finished_one(self) -> None:
        """The inspection thread has read the end of a piece of work."""
        self._num_waiting -= 1

    def inspect(self, acquisition_id: int, task: CycleTask, model: LoadedModel) -> None:
        """Run a cycle; posts `PictureTaken`, then `CycleDone`."""
        self._is_looking.clear()
        self._give(partial(self._inspect, acquisition_id, task, model))

    def looks(self) -> None:
        """The model of a cycle begins to look at the picture; told by the vision thread."""
        self._is_looking.set()

    def let_begin(self) -> None:
        """Stand back until the model looks at the picture, which it does without the interpreter.

        Two threads that compute at once both take longer, and only one of them is waited for.
        """
        self._is_looking.wait(MAX_HEAD_START_S)

    def recover(self, code: str, model: LoadedModel | None, recipe: Recipe | None) -> None:
        """Open the camera again, or try whether the model answers; posts `Recovered`."""
        self._give(partial(self._recover, code, model, recipe))

    def probe(self) -> None:
        """Look whether the camera is still there; posts `Probed`."""
        self._give(self._probe)

    def rehearse(self, recipe: Recipe) -> None:
        """Try whether the camera takes what a recipe's views want of it; posts `Rehearsed`."""
        self._give(partial(self._rehearse, recipe))

    def _give(self, work: Callable[[], None]) -> None:
        self._num_waiting += 1
        self._work.put(work)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            self._busy_since_ns = self._clock.monotonic_ns()
            work()
            self._busy_since_ns = None
        self._vision.camera.close()

    def _inspect(self, acquisition_id: int, task: CycleTask, model: LoadedModel) -> None:
        report = fault = None
        try:
            report = run_cycle(task, self._vision, model)
        except StationFault as error:
            fault = error
        except Exception as error:  # noqa: BLE001 - the thread's boundary: the part is not passed
            fault = _unforeseen(error)
        self._is_looking.set()
        self._post(CycleDone(acquisition_id, report, fault))

    def _recover(self, code: str, model: LoadedModel | None, recipe: Recipe | None) -> None:
        fault: StationFault | None = None
        try:
            if code == CAMERA:
                self._vision.camera.close()
                self._vision.previous = None
                self._vision.camera.open()
                if recipe is not None:
                    self._try_features(recipe)
            elif model is not None and recipe is not None:
                size = (recipe.image_height_px, recipe.image_width_px, 3)
                model.detector.infer(np.full(size, 127, np.uint8))
        except StationFault as error:
            fault = error
        except Exception as error:  # noqa: BLE001 - as above
            fault = _unforeseen(error)
        self._post(Recovered(code, fault))

    def _probe(self) -> None:
        self._post(Probed(_fault_in(self._vision.camera.probe)))

    def _rehearse(self, recipe: Recipe) -> None:
        self._post(Rehearsed(recipe, _fault_in(partial(self._try_features, recipe))))

    def _try_features(self, recipe: Recipe) -> None:
        camera = self._vision.camera
        try:
            for view in recipe.views:
                camera.configure(view.camera_features)
        except FeatureRefusedError as error:
            camera.configure({})
            where = f"{error.cause} (recipe {recipe.recipe_id}, view {view.name})"
            raise FeatureRefusedError(error.camera_id, where) from error
        camera.configure(recipe.views[0].camera_features)


def _fault_in(work: Callable[[], None]) -> StationFault | None:
    try:
        work()
    except StationFault as error:
        return error
    except Exception as error:  # noqa: BLE001 - the thread's boundary: the part is not passed
        return _unforeseen(error)
    return None


def fault_code(fault: StationFault) -> str:
    """Which alarm a fault belongs to."""
    return CAMERA if isinstance(fault, CameraFault) else MODEL


def picture_taken(post: Callable[[Event], None], acquisition_id: int) -> Callable[[], None]:
    """What a cycle calls when it has its pictures."""
    return partial(post, PictureTaken(acquisition_id))


def _unforeseen(error: Exception) -> StationFault:
    logger.error("cycle failed", exc_info=error)
    return ModelFault(f"{type(error).__name__}: {error}"[:200])

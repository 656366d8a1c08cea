"""Looks at some parts in their mirror image, after the verdict and with a model of its own.

A detector that finds other things in a picture's mirror image is not sure of it, whatever its
scores say. The thread runs at low priority and drops what it has no time for: the line never waits.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable

import numpy as np

from edge_agent.agreement import counted_boxes, disagree, mirrored
from edge_agent.errors import EdgeAgentError
from edge_agent.hard_examples import effective_thresholds
from edge_agent.ports import CycleOutcome, Detector, LoadedModel
from edge_agent.priority import be_modest, be_patient
from models.contract.bundle import ModelRef
from models.contract.messages import HardReason
from models.contract.model import ContractError

logger = logging.getLogger(__name__)

NUM_WAITING = 2
"""Pictures that wait for a look; the older ones go."""
STOP_TIMEOUT_S = 5.0
Load = Callable[[ModelRef], LoadedModel | None]
"""Another instance of a model that runs here; None: its bundle is gone."""


def flips(cycle: CycleOutcome, detector: Detector) -> bool:
    """Whether the model finds something else in the mirror image of what it has judged.

    Args:
        cycle: with picture and detections.
        detector: another instance of the model that judged.

    Raises:
        ModelFault: it does not answer.
    """
    if cycle.frame is None or cycle.detections is None:
        return False
    image = cycle.frame.image
    flipped = detector.infer(np.ascontiguousarray(image[:, ::-1]))
    limits = effective_thresholds(cycle.view, cycle.thresholds)
    back = mirrored(flipped, image.shape[1])
    return disagree(
        counted_boxes(cycle.detections, cycle.categories, limits),
        counted_boxes(back, cycle.categories, limits),
    )


class MirrorWatch:
    """A `CycleObserver` that takes a share of the parts for a second look.

    Args:
        load: gives an instance of its own of a model.
        keep: takes a picture that is worth a person's look; must only enqueue.
        ratio: share of the parts that are looked at.
        seed: of the choice.
        give_way: called before each look; waits while a part is judged.
    """

    def __init__(
        self,
        *,
        load: Load,
        keep: Callable[[CycleOutcome, HardReason], None],
        ratio: float,
        seed: int | None = None,
        give_way: Callable[[], None] = lambda: None,
    ) -> None:
        self.num_looks = 0
        self._load = load
        self._keep = keep
        self._ratio = ratio
        self._give_way = give_way
        self._rng = np.random.default_rng(seed)
        self._waiting: deque[CycleOutcome] = deque(maxlen=NUM_WAITING)
        self._changed = threading.Condition()
        self._is_stopping = False
        self._model: LoadedModel | None = None
        self._wanted: ModelRef | None = None
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)

    def start(self) -> None:
        """Start the thread; the model is loaded with the first part."""
        self._thread.start()

    def stop(self) -> None:
        """End after the running look."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(STOP_TIMEOUT_S)

    def observe(self, cycle: CycleOutcome) -> None:
        """A finished cycle; the recorder's thread, never blocks."""
        is_seen = cycle.frame is not None and cycle.detections is not None and cycle.model
        if not is_seen or self._rng.random() >= self._ratio:
            return
        with self._changed:
            self._waiting.append(cycle)
            self._changed.notify_all()

    def _run(self) -> None:
        be_modest()
        be_patient()
        while (cycle := self._next()) is not None:
            try:
                self._look(cycle)
            except Exception:
                # The thread's boundary: a second look is a bonus.
                logger.exception("second look failed")
        self._close()

    def _next(self) -> CycleOutcome | None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopping or bool(self._waiting))
            return None if self._is_stopping else self._waiting.popleft()

    def _look(self, cycle: CycleOutcome) -> None:
        self._give_way()
        model = self._model_of(cycle.model)
        if model is None:
            return
        self.num_looks += 1
        if flips(cycle, model.detector):
            self._keep(cycle, HardReason.FLIP_DISAGREEMENT)

    def _model_of(self, ref: ModelRef | None) -> LoadedModel | None:
        if ref is None:
            return None
        if self._wanted is None or self._wanted.bundle_id != ref.bundle_id:
            self._close()
            self._wanted = ref
            try:
                self._model = self._load(ref)
            except (EdgeAgentError, ContractError) as error:
                logger.warning("no second look at %s: %s", ref.name, error)
        return self._model

    def _close(self) -> None:
        if self._model is not None:
            self._model.detector.close()
        self._model = None

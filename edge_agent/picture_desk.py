"""Pictures over HTTP, judged between the PLC's parts. Used on the inspection thread only."""

import logging

from edge_agent.clock import NS_PER_S
from edge_agent.cycle import CycleTask
from edge_agent.errors import NotReadyError, StorageError
from edge_agent.journal import VerdictJournal
from edge_agent.mailbox import PictureDone
from edge_agent.model_slot import ModelSlot
from edge_agent.outcomes import outcome_of, picture_result
from edge_agent.picture_queue import PictureQueue
from edge_agent.ports import Clock
from edge_agent.recipes import RecipeBook
from edge_agent.recorder import Recorder
from edge_agent.telemetry import Telemetry
from edge_agent.vision import VisionWorker
from models.contract.recipe import Recipe

logger = logging.getLogger(__name__)

PATIENCE_NS = 60 * NS_PER_S
"""Whoever waits over HTTP gives up earlier; this only bounds the work."""


class PictureDesk:
    """Hands one picture at a time to the vision thread and answers its sender."""

    def __init__(
        self,
        *,
        pictures: PictureQueue,
        book: RecipeBook,
        slot: ModelSlot,
        vision: VisionWorker,
        recorder: Recorder,
        journal: VerdictJournal,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._pictures = pictures
        self._book = book
        self._slot = slot
        self._vision = vision
        self._recorder = recorder
        self._journal = journal
        self._telemetry = telemetry
        self._clock = clock
        self._task: CycleTask | None = None

    def start_next(self, selected: Recipe | None) -> None:
        """Judge the next picture, if one waits; call only while the vision thread is idle."""
        model = self._slot.active
        if model is None or not self._recorder.has_room:
            return
        job = self._pictures.take()
        if job is None:
            return
        recipe = self._book.get(job.request.recipe_id) if job.request.recipe_id else selected
        view = recipe.view(job.request.view or recipe.views[0].name) if recipe else None
        if recipe is None or view is None:
            job.done.set_exception(NotReadyError("the recipe was changed meanwhile"))
            return
        self._task = CycleTask(
            part_id=job.request.part_id,
            recipe=recipe,
            view=view,
            answer_by_ns=job.arrived_ns + PATIENCE_NS,
            grab_timeout_s=0.0,
            on_acquired=lambda: None,
        )
        self._vision.look_at(job, self._task, model)

    def finish(self, event: PictureDone) -> None:
        """Answer the sender and hand the outcome to the recorder."""
        job, report, task, model = event.job, event.report, self._task, self._slot.active
        if report is None or task is None or model is None:
            job.done.set_exception(NotReadyError(str(event.fault)))
            return
        recipe, view = task.recipe, task.view
        now_ns, now = self._clock.monotonic_ns(), self._clock.now()
        result = picture_result(job, report, recipe=recipe, view=view, model=model, now_ns=now_ns)
        outcome = outcome_of(result, report, recipe=recipe, view=view, model=model, decided_at=now)
        try:
            self._journal.write(result, decided_at=now)
        except StorageError as error:
            logger.warning("verdict not in the journal: %s", error)
        job.done.set_result(outcome)
        self._recorder.post_cycle(outcome)
        self._telemetry.count_verdict(result.verdict, processing_ms=result.processing_ms)
        self._telemetry.count_inference(report.timings.inference_ms)

    def close(self) -> None:
        """Send everybody away who still waits."""
        self._pictures.refuse_all(NotReadyError("the agent stops"))

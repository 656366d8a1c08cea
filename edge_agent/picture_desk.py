"""Pictures over HTTP, judged on threads of their own and beside the PLC's parts.

The PLC goes first: before each picture a thread gives way while a part is judged, and what it then
computes has a lower priority. The line's records go first, too: while a handful waits for the
recorder no picture is begun, so that a flood of pictures ends in HTTP 429 and never in a station
not Ready, and all senders wait alike.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.clock import NS_PER_S
from edge_agent.cycle import CycleReport, CycleTask, judge_frames
from edge_agent.errors import (
    BrokenFrameError,
    EdgeAgentError,
    ModelFault,
    NotReadyError,
    StorageError,
    UnreadablePictureError,
)
from edge_agent.journal import VerdictJournal
from edge_agent.outcomes import outcome_of, picture_result
from edge_agent.picture_queue import PictureJob, PictureQueue
from edge_agent.ports import Clock, CycleOutcome, Frame, LoadedModel
from edge_agent.priority import BACKGROUND_NICENESS, be_modest, keep_apart
from edge_agent.recorder import Recorder
from edge_agent.right_of_way import RightOfWay
from edge_agent.telemetry import Telemetry

logger = logging.getLogger(__name__)

PATIENCE_NS = 60 * NS_PER_S
"""Whoever waits over HTTP gives up earlier; this only bounds the work."""
POLL_S = 0.001
LOOK_S = 0.01
"""What a picture takes of the cores: it is not begun so shortly before the line's next part."""
LINGER_S = 0.005
"""A picture is recorded while the model looks at the next one, or after this time without one."""
PAUSE_S = 0.05
"""Without a picture for so long nobody is just about to send the next one."""
MAX_WAIT_S = 60.0
STOP_TIMEOUT_S = 5.0


@dataclass(slots=True)
class _Judged:
    """A thread's last picture, answered and in the journal, until it is recorded."""

    recorder: Recorder
    outcome: CycleOutcome | None = None

    def record(self) -> None:
        """Hand it on; harmless when that was done."""
        if self.outcome is not None:
            self.recorder.post_cycle(self.outcome)
            self.outcome = None


class PictureDesk:
    """Takes pictures from the queue, judges them and answers their senders.

    Args:
        pictures: the queue.
        current: the model that judges now; asked for each picture.
        recorder: gets what was judged.
        journal: notes it before the sender is told.
        telemetry: counts it.
        clock: of deadlines and records.
        right_of_way: of the PLC's parts.
        num_threads: pictures that are judged at once.
        keeps_apart: whether the first of these threads stays off the cores of what comes after a
            verdict. Not where an inference has several threads: they would inherit it.
        on_fault: told when the model is unusable.
    """

    def __init__(
        self,
        *,
        pictures: PictureQueue,
        current: Callable[[], LoadedModel | None],
        recorder: Recorder,
        journal: VerdictJournal,
        telemetry: Telemetry,
        clock: Clock,
        right_of_way: RightOfWay,
        num_threads: int,
        keeps_apart: bool = False,
        on_fault: Callable[[ModelFault], None],
    ) -> None:
        self._pictures = pictures
        self._current = current
        self._recorder = recorder
        self._journal = journal
        self._telemetry = telemetry
        self._clock = clock
        self._right_of_way = right_of_way
        self._keeps_apart = keeps_apart
        self._on_fault = on_fault
        self._stopping = threading.Event()
        self._busy_since_ns: dict[int, int] = {}
        self._last_ns = 0
        self._threads = [
            threading.Thread(
                target=self._run, args=(number,), name=f"picture-{number}", daemon=True
            )
            for number in range(num_threads)
        ]

    def start(self) -> None:
        """Begin to judge."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish what is being judged; whoever waits is sent away."""
        self._stopping.set()
        self._pictures.close(NotReadyError("the agent stops"))
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(STOP_TIMEOUT_S)

    def busy_s(self) -> float:
        """How long the picture that takes longest has been looked at."""
        oldest = min(list(self._busy_since_ns.values()), default=None)
        return 0.0 if oldest is None else (self._clock.monotonic_ns() - oldest) / NS_PER_S

    def wait_for_pause(self, timeout_s: float = MAX_WAIT_S) -> None:
        """Wait until no picture was judged for a moment: for what may as well be done later.

        A sender that asks again and again leaves gaps of some milliseconds; they are none.
        """
        end_ns = self._clock.monotonic_ns() + int(timeout_s * NS_PER_S)
        while (now_ns := self._clock.monotonic_ns()) < end_ns:
            quiet_s = 0.0 if self._busy_since_ns else (now_ns - self._last_ns) / NS_PER_S
            if quiet_s >= PAUSE_S:
                return
            self._stopping.wait(PAUSE_S - quiet_s)
            if self._stopping.is_set():
                return

    def _run(self, number: int) -> None:
        be_modest(BACKGROUND_NICENESS)
        # The others come into play where one is not enough: they use every core.
        if number == 0 and self._keeps_apart:
            keep_apart()
        judged = _Judged(self._recorder)
        while not self._pictures.is_closed:
            job = self._pictures.take(LINGER_S if judged.outcome else None, rank=number)
            if job is None:
                judged.record()
                continue
            try:
                outcome = self._judge(number, job, judged.record)
            except EdgeAgentError as error:
                job.done.set_exception(error)
                if isinstance(error, ModelFault):
                    self._on_fault(error)
            except Exception as error:
                # The thread's boundary: the sender is told, the next picture may be a better one.
                logger.exception("picture not judged")
                job.done.set_exception(NotReadyError(f"{type(error).__name__}: {error}"[:200]))
            else:
                job.done.set_result(outcome)
                judged.record()  # it is there still when nobody looked at this picture
                judged.outcome = outcome
        judged.record()

    def _judge(self, number: int, job: PictureJob, on_look: Callable[[], None]) -> CycleOutcome:
        image = job.request.read()
        frame = Frame(image, 0, job.request.captured_at or self._clock.now(), "http")
        task = CycleTask(
            part_id=job.request.part_id,
            recipe=job.recipe,
            view=job.view,
            answer_by_ns=job.arrived_ns + PATIENCE_NS,
            grab_timeout_s=0.0,
            on_acquired=lambda: None,
            on_look=on_look,
        )
        while not self._recorder.is_calm and not self._stopping.wait(POLL_S):
            pass
        self._right_of_way.give_way(LOOK_S)
        self._busy_since_ns[number] = self._clock.monotonic_ns()
        try:
            report, model = self._look(frame, task)
        except BrokenFrameError as error:
            raise UnreadablePictureError(str(error)) from error
        finally:
            del self._busy_since_ns[number]
            self._last_ns = self._clock.monotonic_ns()
        return self._keep(job, report, model)

    def _look(self, frame: Frame, task: CycleTask) -> tuple[CycleReport, LoadedModel]:
        model = self._current()
        while model is not None:
            try:
                return judge_frames([frame], task, model, clock=self._clock), model
            except ModelFault:
                # A model that was swapped out at this very moment has been let go.
                used, model = model, self._current()
                if model is used:
                    raise
        raise NotReadyError("there is no model")

    def _keep(self, job: PictureJob, report: CycleReport, model: LoadedModel) -> CycleOutcome:
        now_ns, now = self._clock.monotonic_ns(), self._clock.now()
        result = picture_result(job, report, model=model, now_ns=now_ns)
        try:
            self._journal.write(result, decided_at=now)
        except StorageError as error:
            logger.warning("verdict not in the journal: %s", error)
        self._telemetry.count_verdict(result.verdict, processing_ms=result.processing_ms)
        if report.detections is not None:
            self._telemetry.count_inference(report.timings.inference_ms)
        return outcome_of(
            result, report, recipe=job.recipe, view=job.view, model=model, decided_at=now
        )

"""How far a Spark job has come, heard from outside while it runs."""

import contextlib
import threading
import time
from collections.abc import Iterator
from uuid import uuid4

from pyspark.sql import SparkSession

from models.training.progress import Listener

POLL_S = 0.5


@contextlib.contextmanager
def follow_tasks(
    session: SparkSession, stage: str, total: int, listener: Listener
) -> Iterator[None]:
    """Tell ``listener`` about the jobs that the block starts.

    Spark knows how many tasks are done, not rows: progress moves by whole tasks.

    Args:
        session: Spark.
        stage: what the events call this part of the work.
        total: rows of all tasks together.
        listener: gets an event whenever a task is done, and one at the end.
    """
    context = session.sparkContext
    group = f"sightline-{uuid4().hex}"
    context.setJobGroup(group, stage)
    is_over = threading.Event()
    started = time.monotonic()

    def tell(done: int) -> None:
        seconds = time.monotonic() - started
        rate = round(done / seconds, 1) if done else None
        event = {"event": "progress", "stage": stage, "step": done, "steps": total}
        listener(event | ({"rate": rate} if rate else {}))

    def watch() -> None:
        told = -1.0
        tracker = context.statusTracker()
        while not is_over.wait(POLL_S):
            # The connection may be going down with an interrupted command.
            with contextlib.suppress(Exception):
                done = _share_done(tracker, group)
                if done != told:
                    told = done
                    tell(round(done * total))

    thread = threading.Thread(target=watch, name="task-watch", daemon=True)
    thread.start()
    try:
        yield
        tell(total)
    finally:
        is_over.set()
        thread.join(POLL_S * 4)
        with contextlib.suppress(Exception):
            context.setLocalProperty("spark.jobGroup.id", None)


def _share_done(tracker: object, group: str) -> float:
    """Finished part of the group's largest stage: the small ones only deal rows out."""
    stages = [
        found
        for job_id in tracker.getJobIdsForGroup(group)  # type: ignore[attr-defined]
        if (job := tracker.getJobInfo(job_id))  # type: ignore[attr-defined]
        for stage_id in job.stageIds
        if (found := tracker.getStageInfo(stage_id))  # type: ignore[attr-defined]
    ]
    if not stages:
        return 0.0
    last = max(stages, key=lambda stage: stage.stageId)
    return float(last.numCompletedTasks / max(1, last.numTasks))

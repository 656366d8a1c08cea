"""Retraining: whether a run starts now, and what became of earlier ones.

One run at a time: the database holds its state, `cloud.training_driver` takes it to its end.
"""

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Select, select

from cloud import audit
from cloud.dataset import MAX_NEW_LABELS, Datasets
from cloud.db.session import Database
from cloud.db.tables import RunState, Snapshot, TrainingRun
from cloud.errors import ConflictError, NotFoundError
from cloud.policy import (
    PATIENCE,
    Decision,
    LearningState,
    RetrainingPolicy,
    RetrainingTrigger,
    decide,
)
from cloud.registry import Registry
from cloud.settings import RetrainingSettings
from cloud.training_driver import OPEN, TrainingDriver, close_run
from cloud.training_process import EVENTS_NAME, LOG_NAME, Event, EventTail, read_tail

TRIED = (RunState.SUCCEEDED, RunState.REFUSED)
"""Outcomes that used the labels up: training once more on the same ones would end the same."""
MAX_HISTORY = 300


@dataclass(frozen=True, slots=True)
class RunDetails:
    """A run with what its files tell."""

    run: TrainingRun
    history: tuple[Event, ...]
    """Progress so far, thinned to what a chart can show."""
    log_tail: str


class Retraining:
    """Decides on and lists training runs.

    Args:
        database: Holds the runs.
        datasets: Counts the new labels.
        registry: Tells what the present model knows.
        driver: Takes a queued run to its end.
        settings: The policy.
        now: The wall clock.
    """

    def __init__(
        self,
        database: Database,
        *,
        datasets: Datasets,
        registry: Registry,
        driver: TrainingDriver,
        settings: RetrainingSettings,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._datasets = datasets
        self._registry = registry
        self._driver = driver
        self._settings = settings
        self._now = now
        self._requesting = threading.Lock()

    # --- asking ------------------------------------------------------------------------------

    def request(self, *, actor: str) -> TrainingRun:
        """Start a run because a person wants one.

        Raises:
            ConflictError: one is in progress, or there is no snapshot to start from.
        """
        return self._enqueue(RetrainingTrigger.BUTTON, actor)

    def consider(self, trigger: RetrainingTrigger, *, drift: str = "") -> Decision:
        """Start a run if the policy says so; called now and then, and by the schedule.

        Args:
            trigger: What asks.
            drift: Which cells have drifted, where that is what asks.
        """
        decision = self._decide(trigger, drift)
        if decision.start and self._settings.enabled:
            try:
                self._enqueue(trigger, audit.SYSTEM)
            except ConflictError as error:  # a person was faster
                return Decision(False, str(error))
        return decision

    def outlook(self) -> Decision:
        """What the policy would say now, for people to read."""
        return self._decide(RetrainingTrigger.LABELS)

    def state(self) -> LearningState:
        """What the policy decides on, as it is now."""
        with self._database.read() as session:
            newest = session.scalars(_newest_first().limit(1)).one_or_none()
            used = session.scalars(
                select(TrainingRun.snapshot_id).where(TrainingRun.state.in_(TRIED))
            ).all()
            parents = dict(session.execute(select(Snapshot.snapshot_id, Snapshot.parent)).all())
        current = self._registry.current()
        known = {category["name"] for category in current.categories} if current else set()
        labels = self._datasets.new_labels(
            already_used=_with_ancestors(used, parents),
            at_most=max(MAX_NEW_LABELS, PATIENCE * self._settings.min_new_labels),
        )
        had_setback = newest is not None and newest.state not in {*OPEN, RunState.SUCCEEDED}
        return LearningState(
            has_base=bool(parents),
            is_running=newest is not None and newest.state in OPEN,
            num_new_labels=labels.num_images,
            boxes_per_new_category={
                name: count
                for name, count in labels.boxes_per_category.items()
                if name not in known
            },
            last_setback_at=newest.finished_at if newest and had_setback else None,
        )

    def cancel(self, run_id: str, *, actor: str) -> TrainingRun:
        """End a run; its process is gone within seconds.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: it has ended.
        """
        with self._database.write() as session:
            run = session.get(TrainingRun, run_id, with_for_update=True)
            if run is None:
                raise NotFoundError("training run", run_id)
            if run.state not in OPEN:
                raise ConflictError(f"run {run_id} has {run.state}")
            if run.state is RunState.QUEUED:
                close_run(run, RunState.CANCELLED, "cancelled before it started", self._now())
            audit.record(session, actor, "cancel retraining", run_id)
        self._driver.cancel(run_id)
        return run

    # --- reading -----------------------------------------------------------------------------

    def recent(self, *, limit: int, before: datetime | None = None) -> Sequence[TrainingRun]:
        """Newest first."""
        query = _newest_first().limit(limit)
        if before is not None:
            query = query.where(TrainingRun.created_at < before)
        with self._database.read() as session:
            return session.scalars(query).all()

    def get(self, run_id: str) -> TrainingRun:
        """One run.

        Raises:
            NotFoundError: there is none.
        """
        with self._database.read() as session:
            run = session.get(TrainingRun, run_id)
        if run is None:
            raise NotFoundError("training run", run_id)
        return run

    def details(self, run_id: str) -> RunDetails:
        """One run with its progress so far and the end of its log.

        Raises:
            NotFoundError: there is none.
        """
        run = self.get(run_id)
        folder = Path(run.directory)
        events = [event for event in EventTail(folder / EVENTS_NAME).read() if "step" in event]
        stride = len(events) // MAX_HISTORY + 1
        return RunDetails(run, tuple(events[::stride]), read_tail(folder / LOG_NAME))

    # --- inside ------------------------------------------------------------------------------

    def _enqueue(self, trigger: RetrainingTrigger, actor: str) -> TrainingRun:
        with self._requesting:
            state = self.state()
            if state.is_running or not state.has_base:
                raise ConflictError(
                    decide(
                        state, self._policy(), trigger=RetrainingTrigger.BUTTON, now=self._now()
                    ).reason
                )
            run_id = f"{self._now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
            run = TrainingRun(
                run_id=run_id,
                state=RunState.QUEUED,
                trigger=str(trigger),
                requested_by=actor,
                directory=str(self._settings.dir / run_id),
                created_at=self._now(),
            )
            with self._database.write() as session:
                session.add(run)
                audit.record(session, actor, "start retraining", run_id, trigger=str(trigger))
        self._driver.wake()
        return run

    def _decide(self, trigger: RetrainingTrigger, drift: str = "") -> Decision:
        state = replace(self.state(), drift=drift)
        return decide(state, self._policy(), trigger=trigger, now=self._now())

    def _policy(self) -> RetrainingPolicy:
        return RetrainingPolicy(
            min_new_labels=self._settings.min_new_labels,
            min_per_new_category=self._settings.min_per_new_category,
            min_drift_labels=self._settings.min_drift_labels,
            cool_down=timedelta(seconds=self._settings.cool_down_s),
        )


def _newest_first() -> Select[TrainingRun]:
    return select(TrainingRun).order_by(TrainingRun.created_at.desc(), TrainingRun.run_id)


def _with_ancestors(used: Sequence[str | None], parents: Mapping[str, str | None]) -> set[str]:
    found: set[str] = set()
    for snapshot_id in used:
        step = snapshot_id
        while step is not None and step not in found:
            found.add(step)
            step = parents.get(step)
    return found

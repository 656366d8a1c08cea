"""Takes every running rollout its next step by what the cells report."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from cloud import audit
from cloud.cell_models import desired_release, highest_release, reported_of, tell
from cloud.db.session import Database
from cloud.db.tables import (
    Cell,
    Release,
    ReleaseState,
    Rollout,
    RolloutCell,
    RolloutPhase,
    RolloutState,
)
from cloud.registry import model_ref
from cloud.rollout import CellProgress, Step, WaveLimits, next_step, observe
from models.contract.messages import FollowMode


class RolloutController:
    """Advances rollouts; one thread calls it every second or two.

    Args:
        database: Holds rollouts, and the cells' reports as ingest writes them.
        limits: When a wave is good enough, and when not.
        now: The wall clock.
    """

    def __init__(
        self,
        database: Database,
        *,
        limits: WaveLimits,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._limits = limits
        self._now = now

    def advance(self) -> None:
        """Take the next step of every running rollout and tell newcomers what all follow."""
        with self._database.read() as session:
            is_idle = session.scalars(_running()).first() is None and not _behind(session)
        if is_idle:  # the usual case takes no write lock
            return
        with self._database.write() as session:
            for rollout in session.scalars(_running()).all():
                self._advance_one(session, rollout)
            for cell, rollout, release in _behind(session):
                self._tell(cell, release, rollout)

    def _advance_one(self, session: Session, rollout: Rollout) -> None:
        now = self._now()
        rows = rollout_cells(session, rollout.rollout_id)
        names = [row.cell for row in rows]
        cells = {
            cell.cell: cell for cell in session.scalars(select(Cell).where(Cell.cell.in_(names)))
        }
        for row in rows:
            _look_at(row, cells[row.cell], rollout, now)
        started = rollout.wave_started_at or now
        step = next_step(
            [CellProgress(row.cell, row.wave, row.phase, row.error or "") for row in rows],
            wave=rollout.wave,
            wave_age_s=(now - started).total_seconds(),
            limits=self._limits,
        )
        if step.wave != rollout.wave or rollout.wave_started_at is None:
            rollout.wave, rollout.wave_started_at = step.wave, now
        release = session.get_one(Release, rollout.release)
        for row in rows:
            if row.cell in step.send:
                row.phase, row.updated_at = RolloutPhase.SENT, now
                self._tell(cells[row.cell], release, rollout)
        if step.state is not RolloutState.RUNNING:
            _finish(session, rollout, release, step, now)

    def _tell(self, cell: Cell, release: Release, rollout: Rollout) -> None:
        tell(
            cell,
            model_ref(release),
            rollout.rollout_id,
            canary_parts=rollout.canary_parts,
            shadow_parts=rollout.shadow_parts,
            now=self._now(),
        )


def rollout_cells(session: Session, rollout_id: str) -> Sequence[RolloutCell]:
    """Every cell of a rollout by wave and name."""
    query = (
        select(RolloutCell)
        .where(RolloutCell.rollout_id == rollout_id)
        .order_by(RolloutCell.wave, RolloutCell.cell)
    )
    return session.scalars(query).all()


def end_rollout(rollout: Rollout, state: RolloutState, error: str, now: datetime) -> None:
    """Close a rollout with its outcome."""
    rollout.state = state
    rollout.error = error or None
    rollout.finished_at = now


def followed(session: Session) -> tuple[Rollout, Release] | None:
    """The newest release that went through a whole rollout, and that rollout."""
    rollout = session.scalars(
        select(Rollout)
        .where(Rollout.state == RolloutState.SUCCEEDED)
        .order_by(Rollout.release.desc(), Rollout.created_at.desc())
        .limit(1)
    ).one_or_none()
    if rollout is None:
        return None
    return rollout, session.get_one(Release, rollout.release)


def _running() -> Select[Rollout]:
    return select(Rollout).where(Rollout.state == RolloutState.RUNNING)


def _behind(session: Session) -> list[tuple[Cell, Rollout, Release]]:
    """Following cells that came, or began to follow again, after the rollout that they missed."""
    newest = followed(session)
    if newest is None or session.scalars(_running()).first() is not None:
        return []
    rollout, release = newest
    if release.state is ReleaseState.WITHDRAWN:
        return []
    cells = session.scalars(select(Cell).where(Cell.mode == FollowMode.FOLLOW))
    return [
        (cell, rollout, release)
        for cell in cells
        if desired_release(cell) < release.release and highest_release(cell) <= release.release
    ]


def _look_at(row: RolloutCell, cell: Cell, rollout: Rollout, now: datetime) -> None:
    if row.phase is RolloutPhase.SKIPPED:
        return
    if row.phase is RolloutPhase.WAITING:
        if cell.mode is not FollowMode.FOLLOW:
            row.phase, row.error, row.updated_at = RolloutPhase.SKIPPED, f"is {cell.mode}", now
        return
    reported = reported_of(cell)
    phase, error = observe(
        row.phase, reported, rollout_id=rollout.rollout_id, release=rollout.release
    )
    said = str(reported.phase) if reported else None
    if (phase, said) != (row.phase, row.reported_phase):
        row.phase, row.reported_phase, row.updated_at = phase, said, now
        row.error = error or None


def _finish(
    session: Session, rollout: Rollout, release: Release, step: Step, now: datetime
) -> None:
    end_rollout(rollout, step.state, step.error, now)
    succeeded = step.state is RolloutState.SUCCEEDED
    if succeeded and release.state is ReleaseState.APPROVED:
        release.state = ReleaseState.ROLLED_OUT
    audit.record(
        session,
        audit.SYSTEM,
        "finish rollout" if succeeded else "stop rollout",
        rollout.rollout_id,
        release=release.release,
        error=step.error,
    )

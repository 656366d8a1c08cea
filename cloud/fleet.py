"""What people ask of the fleet: rollouts, the way back, pins and pauses.

This module changes the database only. `cloud.rollout_controller` takes rollouts further,
`cloud.desired` carries the outcome to the cells, and ingest brings their reports back.
"""

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from cloud import audit
from cloud.cell_models import (
    desired_release,
    highest_release,
    is_online,
    running_release,
    tell,
)
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
from cloud.errors import ConflictError, InvalidError, NotFoundError
from cloud.registry import IN_USE, Registry, model_ref
from cloud.rollout import plan_waves
from cloud.rollout_controller import end_rollout, followed, rollout_cells
from cloud.settings import RolloutSettings
from models.contract.messages import FollowMode

OPEN = (RolloutState.RUNNING, RolloutState.PAUSED)
NOT_IN_A_WAVE = -1


@dataclass(frozen=True, slots=True)
class RolloutView:
    """A rollout and where each of its cells stands."""

    rollout: Rollout
    cells: tuple[RolloutCell, ...]


class Fleet:
    """Rollouts and follow modes of all cells.

    Args:
        database: Holds cells, rollouts and what each cell should run.
        registry: Gives a step back its new number.
        settings: Waves and trials.
        now: The wall clock.
    """

    def __init__(
        self,
        database: Database,
        *,
        registry: Registry,
        settings: RolloutSettings,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._registry = registry
        self._settings = settings
        self._now = now

    # --- changing ----------------------------------------------------------------------------

    def start_rollout(
        self, release: int, *, actor: str, canary: Iterable[str] = (), at_once: bool = False
    ) -> Rollout:
        """Bring a release to every cell that follows; an open rollout is superseded.

        Args:
            release: An approved release, not older than what cells were told.
            actor: Who asks.
            canary: Cells of the first wave; chosen by the fleet when empty.
            at_once: All cells in one wave and no shadow run, for a step back to what is known.

        Raises:
            NotFoundError: there is no such release.
            ConflictError: it is not approved, or cells were told a newer one.
        """
        self._in_use(release)
        with self._database.write() as session:
            cells = session.scalars(select(Cell).order_by(Cell.cell)).all()
            newest = max(map(desired_release, cells), default=0)
            if newest > release:
                raise ConflictError(
                    f"cells were told release {newest} already:"
                    f" roll back to give release {release} a new number"
                )
            rollout = self._insert_rollout(session, release, actor, at_once=at_once)
            following = [cell for cell in cells if cell.mode is FollowMode.FOLLOW]
            following.sort(key=lambda cell: not is_online(cell))  # stable: by name within each
            waves = plan_waves(
                [cell.cell for cell in following],
                canary_cells=len(following) if at_once else self._settings.canary_cells,
                wave_ratio=self._settings.wave_ratio,
                canary=canary,
            )
            rollout.waves = [list(wave) for wave in waves]
            wave_of = {cell: index for index, wave in enumerate(waves) for cell in wave}
            for cell in cells:
                session.add(self._row(rollout, cell, wave_of.get(cell.cell)))
            audit.record(session, actor, "start rollout", release, rollout_id=rollout.rollout_id)
            return rollout

    def roll_back(self, *, actor: str, release: int | None = None) -> Rollout:
        """Bring the bundle of an older release to all following cells, under a new number.

        Args:
            actor: Who asks.
            release: The one to go back to; the one before what cells were told when not given.

        Raises:
            NotFoundError: there is no such release.
            ConflictError: there is nothing to go back to.
        """
        target = release if release is not None else self._release_before()
        fresh = self._registry.again(target, actor=actor)
        return self.start_rollout(fresh.release, actor=actor, at_once=True)

    def stop(self, rollout_id: str, *, actor: str) -> Rollout:
        """Stop an open rollout: cells that were not told yet keep what they have.

        Raises:
            NotFoundError: there is no such rollout.
            ConflictError: it has ended.
        """
        with self._database.write() as session:
            rollout = session.get(Rollout, rollout_id, with_for_update=True)
            if rollout is None:
                raise NotFoundError("rollout", rollout_id)
            if rollout.state not in OPEN:
                raise ConflictError(f"rollout {rollout_id} has {rollout.state}")
            end_rollout(rollout, RolloutState.STOPPED, f"stopped by {actor}", self._now())
            audit.record(session, actor, "stop rollout", rollout_id)
            return rollout

    def set_mode(
        self, cell: str, mode: FollowMode, *, actor: str, release: int | None = None
    ) -> Cell:
        """Let a cell follow, pin it to a release, or keep it from changing at all.

        Args:
            cell: Its path.
            mode: What it does from now on.
            actor: Who asks.
            release: With ``pin``: what it should run; what it should run now when not given.

        Raises:
            NotFoundError: cell or release is not known.
            ConflictError: the release is not in use.
            InvalidError: a release was given without ``pin``, or there is none to pin to.
        """
        if release is not None and mode is not FollowMode.PIN:
            raise InvalidError("a release is only given with the mode pin")
        known = self._cell(cell)
        wanted = self._wanted(known, mode, release)
        if wanted is not None and wanted.release < highest_release(known):
            # A cell refuses a lower number than it has seen, whoever sends it.
            wanted = self._registry.again(wanted.release, actor=actor)
        with self._database.write() as session:
            row = session.get_one(Cell, cell, with_for_update=True)
            row.mode = mode
            row.pinned_release = wanted.release if wanted and mode is FollowMode.PIN else None
            if wanted is not None:
                tell(
                    row,
                    model_ref(wanted),
                    f"{mode}-{uuid.uuid4().hex[:12]}",
                    canary_parts=self._settings.canary_parts,
                    shadow_parts=self._settings.shadow_parts,
                    now=self._now(),
                )
            number = wanted.release if wanted else None
            audit.record(session, actor, f"{mode} cell", cell, release=number)
            return row

    # --- reading -----------------------------------------------------------------------------

    def recent(
        self, *, limit: int, before: tuple[datetime, str] | None = None
    ) -> list[RolloutView]:
        """Newest rollouts first; ``before`` is time and id of the last one of the page before."""
        query = select(Rollout).order_by(Rollout.created_at.desc(), Rollout.rollout_id.desc())
        if before is not None:
            query = query.where(tuple_(Rollout.created_at, Rollout.rollout_id) < before)
        with self._database.read() as session:
            return [_view(session, rollout) for rollout in session.scalars(query.limit(limit))]

    def get(self, rollout_id: str) -> RolloutView:
        """One rollout.

        Raises:
            NotFoundError: there is none.
        """
        with self._database.read() as session:
            rollout = session.get(Rollout, rollout_id)
            if rollout is None:
                raise NotFoundError("rollout", rollout_id)
            return _view(session, rollout)

    # --- inside ------------------------------------------------------------------------------

    def _insert_rollout(
        self, session: Session, release: int, actor: str, *, at_once: bool
    ) -> Rollout:
        now = self._now()
        for old in session.scalars(select(Rollout).where(Rollout.state.in_(OPEN))):
            end_rollout(old, RolloutState.SUPERSEDED, f"by release {release}", now)
        rollout = Rollout(
            rollout_id=f"r{release}-{uuid.uuid4().hex[:8]}",
            release=release,
            state=RolloutState.RUNNING,
            waves=[],
            wave=0,
            canary_parts=self._settings.canary_parts,
            shadow_parts=0 if at_once else self._settings.shadow_parts,
            created_at=now,
            created_by=actor,
        )
        session.add(rollout)
        session.flush()
        return rollout

    def _row(self, rollout: Rollout, cell: Cell, wave: int | None) -> RolloutCell:
        return RolloutCell(
            rollout_id=rollout.rollout_id,
            cell=cell.cell,
            wave=NOT_IN_A_WAVE if wave is None else wave,
            phase=RolloutPhase.SKIPPED if wave is None else RolloutPhase.WAITING,
            from_release=running_release(cell),
            error=f"is {cell.mode}" if wave is None else None,
            updated_at=self._now(),
        )

    def _wanted(self, cell: Cell, mode: FollowMode, release: int | None) -> Release | None:
        if mode is FollowMode.FOLLOW:
            with self._database.read() as session:
                newest = followed(session)
            in_use = newest is not None and newest[1].state in IN_USE
            return newest[1] if newest and in_use else None
        if release is not None:
            return self._in_use(release)
        now = desired_release(cell) or running_release(cell) or 0
        if now == 0 and mode is FollowMode.PIN:
            raise InvalidError(f"{cell.cell} was never told a release: say which one to pin to")
        return self._registry.get(now) if now else None

    def _release_before(self) -> int:
        with self._database.read() as session:
            told = max(map(desired_release, session.scalars(select(Cell))), default=0)
            newest = session.get(Release, told)
            if newest is not None:
                query = (
                    select(Release.release)
                    .where(
                        Release.state == ReleaseState.ROLLED_OUT,
                        Release.release < newest.release,
                        Release.bundle_id != newest.bundle_id,
                    )
                    .order_by(Release.release.desc())
                )
                found = session.scalars(query.limit(1)).one_or_none()
                if found is not None:
                    return found
        raise ConflictError("there is no earlier release to go back to")

    def _in_use(self, release: int) -> Release:
        found = self._registry.get(release)
        if found.state not in IN_USE:
            raise ConflictError(f"release {release} is {found.state}: approve it first")
        return found

    def _cell(self, cell: str) -> Cell:
        with self._database.read() as session:
            found = session.get(Cell, cell)
        if found is None:
            raise NotFoundError("cell", cell)
        return found


def _view(session: Session, rollout: Rollout) -> RolloutView:
    return RolloutView(rollout, tuple(rollout_cells(session, rollout.rollout_id)))

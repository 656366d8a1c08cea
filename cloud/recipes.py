"""Recipes on their way to the cells: each version once, and what the cell said to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud import audit
from cloud.cell_models import reported_of
from cloud.db.recipe_tables import PushedRecipe
from cloud.db.session import Database
from cloud.db.tables import Cell, StationLogEntry
from cloud.errors import ConflictError, NotFoundError
from models.contract.recipe import Recipe

KEPT, REFUSED = "recipe_kept", "recipe_refused"
"""Events with which a cell answers."""


class PushState(StrEnum):
    """What became of a recipe that was sent."""

    SENT = "sent"
    """The cell has not answered yet."""
    KEPT = "kept"
    """The cell has it, and runs another recipe."""
    IN_FORCE = "in_force"
    """Parts are judged by this version, or by a newer one."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Push:
    """A recipe that was sent, and the answer."""

    row: PushedRecipe
    state: PushState
    answer: str
    """The cell's own words, where it refused."""


class Recipes:
    """Sends recipes to cells and knows what came of it.

    Args:
        database: holds cells, recipes and the audit log.
        now: the wall clock.
    """

    def __init__(
        self, database: Database, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = database
        self._now = now

    def push(self, recipe: Recipe, cells: Sequence[str], *, actor: str) -> list[Push]:
        """Send a version of a recipe to cells; `cloud.desired` brings it there.

        Raises:
            NotFoundError: a cell was never heard of.
            ConflictError: a cell has this version or a newer one.
        """
        with self._database.write() as session:
            rows = [self._row(session, recipe, cell, actor) for cell in dict.fromkeys(cells)]
            session.add_all(rows)
            session.flush()
            audit.record(
                session,
                actor,
                "push recipe",
                recipe.recipe_id,
                version=recipe.version,
                cells=[row.cell for row in rows],
            )
            return [Push(row, PushState.SENT, "") for row in rows]

    def recent(self, *, limit: int, before: int | None = None) -> list[Push]:
        """Newest first; ``before`` is the id that the page before ended with."""
        query = select(PushedRecipe).order_by(PushedRecipe.id.desc()).limit(limit)
        if before is not None:
            query = query.where(PushedRecipe.id < before)
        with self._database.read() as session:
            return [_with_answer(session, row) for row in session.scalars(query)]

    def _row(self, session: Session, recipe: Recipe, cell: str, actor: str) -> PushedRecipe:
        known = session.get(Cell, cell)
        if known is None:
            raise NotFoundError("cell", cell)
        newest = _newest_version(session, known, recipe.recipe_id)
        if recipe.version <= newest:
            raise ConflictError(
                f"{cell} has version {newest} of {recipe.recipe_id}: "
                f"raise the version to {newest + 1} or more"
            )
        return PushedRecipe(
            cell=cell,
            recipe_id=recipe.recipe_id,
            version=recipe.version,
            recipe=recipe.model_dump(mode="json", exclude_none=True),
            issued_at=self._now(),
            issued_by=actor,
        )


def _newest_version(session: Session, cell: Cell, recipe_id: str) -> int:
    """What the cell was sent, or reports to run."""
    sent = session.scalar(
        select(func.max(PushedRecipe.version)).where(
            PushedRecipe.cell == cell.cell, PushedRecipe.recipe_id == recipe_id
        )
    )
    reported = reported_of(cell)
    runs = reported.recipe_version if reported and reported.recipe_id == recipe_id else None
    return max(sent or 0, runs or 0)


def _with_answer(session: Session, row: PushedRecipe) -> Push:
    cell = session.get(Cell, row.cell)
    reported = reported_of(cell) if cell is not None else None
    runs = reported.recipe_version if reported and reported.recipe_id == row.recipe_id else None
    if runs is not None and runs >= row.version:
        return Push(row, PushState.IN_FORCE, "")
    title = f"{row.recipe_id} v{row.version}"
    answers = session.scalars(
        select(StationLogEntry)
        .where(
            StationLogEntry.cell == row.cell,
            StationLogEntry.code.in_((KEPT, REFUSED)),
            StationLogEntry.created_at >= row.issued_at,
        )
        .order_by(StationLogEntry.created_at.desc())
    )
    for answer in answers:
        name, _, words = answer.text.partition(": ")
        if name == title:
            is_kept = answer.code == KEPT
            return Push(row, PushState.KEPT if is_kept else PushState.REFUSED, words)
    return Push(row, PushState.SENT, "")

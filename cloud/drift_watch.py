"""Drift of each cell, out of what it sent: the time since its model came against the present."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from cloud.db.session import Database
from cloud.db.tables import Cell, Release, Result
from cloud.drift import DriftLevel, Shift, shift_of_numbers, shift_of_words, worst

NUM_REFERENCE = 1_000
"""Records right after the model came: that is what it was judged good on."""
NUM_CURRENT = 400
MAX_AGE_S = 60.0
NOTHING = "nothing"
COLUMNS = (
    Result.created_at,
    Result.bundle_id,
    Result.detections,
    Result.mean_grey,
    Result.sharpness,
)


@dataclass(frozen=True, slots=True)
class CellDrift:
    """How far one cell has drifted since its model came."""

    cell: str
    bundle_id: str | None
    since: datetime | None
    """When the model that it runs was first seen there, as far as the records tell."""
    shifts: tuple[Shift, ...]

    @property
    def level(self) -> DriftLevel:
        """The worst of its shifts."""
        return worst(self.shifts)

    @property
    def reason(self) -> str:
        """What moved, for people; empty when nothing did."""
        moved = [
            f"{shift.name} (PSI {shift.psi:.2f})"
            for shift in self.shifts
            if shift.level is DriftLevel.ALARM
        ]
        return f"{self.cell}: {', '.join(moved)}" if moved else ""


Reference = Sequence[Row[Any]]


class DriftWatch:
    """Reads a bounded sample of each cell's records, however many there are; one for a process.

    Args:
        database: Holds results.
        max_age_s: What was found is told again for so long: drift is a matter of hundreds of parts.
        now_s: A clock that only goes forward.
    """

    def __init__(
        self,
        database: Database,
        *,
        max_age_s: float = MAX_AGE_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._max_age_s = max_age_s
        self._now_s = now_s
        self._lock = threading.Lock()
        self._found: list[CellDrift] = []
        self._found_at: float | None = None
        self._references: dict[tuple[str, str], Reference] = {}
        """Complete ones by cell and bundle: they stay what they are."""

    def cells(self) -> list[CellDrift]:
        """Drift of every cell, by its name.

        Raises:
            UnavailableError: the database cannot be read.
        """
        with self._lock:
            if self._found_at is None or self._now_s() - self._found_at >= self._max_age_s:
                self._found, self._found_at = self._look(), self._now_s()
            return self._found

    def _look(self) -> list[CellDrift]:
        with self._database.read() as session:
            cells = session.scalars(select(Cell.cell).order_by(Cell.cell)).all()
            found = [_cell_drift(session, cell, self._references) for cell in cells]
        running = {(drift.cell, drift.bundle_id) for drift in found}
        for key in self._references.keys() - running:
            del self._references[key]
        return found

    def alarms(self) -> list[CellDrift]:
        """Only the cells that drifted beyond doubt."""
        return [drift for drift in self.cells() if drift.level is DriftLevel.ALARM]


def _cell_drift(session: Session, cell: str, known: dict[tuple[str, str], Reference]) -> CellDrift:
    newest = (
        select(*COLUMNS)
        .where(Result.cell == cell)
        .order_by(Result.created_at.desc(), Result.id.desc())
        .limit(NUM_CURRENT)
    )
    rows = session.execute(newest).all()
    bundle_id = rows[0].bundle_id if rows else None
    current = [row for row in rows if row.bundle_id == bundle_id]
    if bundle_id is None or not current:
        return CellDrift(cell, bundle_id, None, ())
    reference = known.get((cell, bundle_id))
    if reference is None:
        reference = _reference(session, cell, bundle_id, before=current[-1].created_at)
        if len(reference) == NUM_REFERENCE:
            known[cell, bundle_id] = reference
    since = reference[0].created_at if reference else current[-1].created_at
    return CellDrift(
        cell,
        bundle_id,
        since,
        (
            shift_of_numbers("score", _scores(reference), _scores(current)),
            shift_of_words("class", _classes(reference), _classes(current)),
            shift_of_numbers(
                "brightness", _numbers(reference, "mean_grey"), _numbers(current, "mean_grey")
            ),
            shift_of_numbers(
                "sharpness", _numbers(reference, "sharpness"), _numbers(current, "sharpness")
            ),
        ),
    )


def _reference(session: Session, cell: str, bundle_id: str, *, before: datetime) -> Reference:
    """The first records of a model at a cell, of those before the present."""
    approved = select(Release.created_at).where(Release.bundle_id == bundle_id)
    released_at = session.scalars(approved.order_by(Release.release).limit(1)).one_or_none()
    oldest = (
        select(*COLUMNS)
        .where(
            Result.cell == cell,
            Result.created_at < before,
            Result.bundle_id == bundle_id,
        )
        .order_by(Result.created_at, Result.id)
        .limit(NUM_REFERENCE)
    )
    if released_at is not None:  # where the index can begin
        oldest = oldest.where(Result.created_at >= released_at)
    return session.execute(oldest).all()


def _scores(rows: Sequence[Any]) -> list[float]:
    return [float(found["score"]) for row in rows for found in row.detections]


def _classes(rows: Sequence[Any]) -> list[str]:
    return [
        word
        for row in rows
        for word in ([found["category"] for found in row.detections] or [NOTHING])
    ]


def _numbers(rows: Sequence[Any], name: str) -> list[float]:
    """What the records say; those of a cell that does not measure it say nothing."""
    return [value for row in rows if (value := getattr(row, name)) is not None]

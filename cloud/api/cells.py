"""The cells: who is there, what runs, what they last decided."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.api.context import CellPath, Ctx, Viewer
from cloud.api.paging import Cursor, Limit, Page, decode_cursor, page_of
from cloud.api.schemas import ResultOut
from cloud.cell_models import is_online
from cloud.db.tables import Cell, Result, StationLogEntry
from cloud.errors import NotFoundError
from cloud.results import images_of
from models.contract.messages import FollowMode

router = APIRouter(prefix="/v1/cells", tags=["cells"])


class CellOut(BaseModel):
    """A cell and its last result."""

    cell: str
    is_online: bool
    """Its agent is connected, as far as the broker knows."""
    status_age_s: float | None
    """Seconds since its last sign of life; old means stale, whatever `is_online` says."""
    first_seen_at: datetime
    status: dict[str, Any] | None
    status_at: datetime | None
    reported: dict[str, Any] | None
    reported_at: datetime | None
    mode: FollowMode
    pinned_release: int | None
    desired: dict[str, Any] | None
    desired_at: datetime | None
    last_result: ResultOut | None


class StationEventOut(BaseModel):
    """An alarm, or a change of state, model or recipe."""

    cell: str
    created_at: datetime
    code: str
    text: str
    station_state: str | None
    release: int | None
    bundle_id: str | None


def _cell_out(session: Session, cell: Cell) -> CellOut:
    last = session.scalars(
        select(Result)
        .where(Result.cell == cell.cell)
        .order_by(Result.created_at.desc(), Result.id.desc())
        .limit(1)
    ).first()
    image = images_of(session, [last]).get(last.result_id) if last is not None else None
    age = datetime.now(UTC) - cell.status_at if cell.status_at is not None else None
    return CellOut(
        **{name: getattr(cell, name) for name in Cell.__table__.columns.keys()},  # noqa: SIM118
        is_online=is_online(cell),
        status_age_s=age.total_seconds() if age is not None else None,
        last_result=ResultOut.of(last, image) if last is not None else None,
    )


@router.get("")
def list_cells(
    context: Ctx, _viewer: Viewer, limit: Limit = 100, cursor: Cursor = None
) -> Page[CellOut]:
    """Every cell that was ever heard of, by name."""
    query = select(Cell).order_by(Cell.cell).limit(limit + 1)
    if cursor is not None:
        (after,) = decode_cursor(cursor, str)
        query = query.where(Cell.cell > after)
    with context.database.read() as session:
        cells = session.scalars(query).all()
        return page_of(
            cells,
            limit,
            item=lambda cell: _cell_out(session, cell),
            key=lambda cell: (cell.cell,),
        )


@router.get("/{site}/{area}/{line}/{cell}")
def get_cell(context: Ctx, _viewer: Viewer, path: CellPath) -> CellOut:
    """One cell."""
    with context.database.read() as session:
        found = session.get(Cell, path)
        if found is None:
            raise NotFoundError("cell", path)
        return _cell_out(session, found)


@router.get("/{site}/{area}/{line}/{cell}/events")
def list_events(
    context: Ctx, _viewer: Viewer, path: CellPath, limit: Limit = 50
) -> list[StationEventOut]:
    """Latest alarms and changes of a cell, newest first."""
    query = (
        select(StationLogEntry)
        .where(StationLogEntry.cell == path)
        .order_by(StationLogEntry.created_at.desc(), StationLogEntry.seq.desc())
        .limit(limit)
    )
    with context.database.read() as session:
        return [
            StationEventOut.model_validate(entry, from_attributes=True)
            for entry in session.scalars(query)
        ]

"""Which cell should run which release: rollouts, the way back, pins and pauses."""

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from cloud.api.context import CellPath, Controls, Viewer
from cloud.api.learning import Learning
from cloud.api.paging import Cursor, Limit, Page, decode_cursor, page_of
from cloud.db.tables import RolloutPhase, RolloutState
from cloud.fleet import RolloutView
from models.contract.messages import FollowMode

router = APIRouter(prefix="/v1", tags=["releases"])

RolloutId = Annotated[str, Path(pattern=r"^[A-Za-z0-9\-]{1,64}$")]


class RolloutCellOut(BaseModel):
    """Where one cell stands."""

    cell: str
    wave: int
    phase: RolloutPhase
    reported_phase: str | None
    from_release: int | None
    error: str | None
    updated_at: datetime


class RolloutOut(BaseModel):
    """A release on its way to the cells."""

    rollout_id: str
    release: int
    state: RolloutState
    waves: list[list[str]]
    wave: int
    wave_started_at: datetime | None
    canary_parts: int
    shadow_parts: int
    error: str | None
    created_at: datetime
    created_by: str
    finished_at: datetime | None
    cells: list[RolloutCellOut] = Field(default_factory=list)

    @classmethod
    def of(cls, view: RolloutView) -> Self:
        """From the rollout and its cells."""
        rollout = view.rollout
        fields: dict[str, Any] = {
            name: getattr(rollout, name) for name in cls.model_fields if name != "cells"
        }
        cells = [RolloutCellOut.model_validate(row, from_attributes=True) for row in view.cells]
        return cls(**fields, cells=cells)


class RollbackBody(BaseModel):
    """Where to go back to."""

    release: int | None = Field(default=None, ge=1, le=2**53)
    """The release whose bundle comes back; the one before the present when not given."""


class ModelBody(BaseModel):
    """What a cell does about new models."""

    mode: FollowMode
    release: int | None = Field(default=None, ge=1, le=2**53)
    """With ``pin``: what it should run; what it should run now when not given."""


class CellModelOut(BaseModel):
    """What a cell does about new models from now on."""

    cell: str
    mode: FollowMode
    pinned_release: int | None
    desired: dict[str, Any] | None


@router.get("/rollouts")
def list_rollouts(
    learning: Learning, _viewer: Viewer, limit: Limit = 20, cursor: Cursor = None
) -> Page[RolloutOut]:
    """Newest first."""
    before = decode_cursor(cursor, datetime, str) if cursor else None
    views = learning.fleet.recent(
        limit=limit + 1, before=(before[0], before[1]) if before else None
    )
    return page_of(
        views,
        limit,
        item=RolloutOut.of,
        key=lambda view: (view.rollout.created_at, view.rollout.rollout_id),
    )


@router.get("/rollouts/{rollout_id}")
def get_rollout(learning: Learning, _viewer: Viewer, rollout_id: RolloutId) -> RolloutOut:
    """One rollout and where its cells stand."""
    return RolloutOut.of(learning.fleet.get(rollout_id))


@router.post("/rollouts/{rollout_id}/stop")
def stop_rollout(learning: Learning, identity: Controls, rollout_id: RolloutId) -> RolloutOut:
    """Stop a rollout: cells that were not told yet keep what they have."""
    learning.fleet.stop(rollout_id, actor=identity.name)
    return RolloutOut.of(learning.fleet.get(rollout_id))


@router.post("/rollbacks", status_code=202)
def roll_back(
    learning: Learning, identity: Controls, body: RollbackBody | None = None
) -> RolloutOut:
    """Bring an older bundle back to all following cells, as a new release."""
    release = body.release if body else None
    rollout = learning.fleet.roll_back(actor=identity.name, release=release)
    return RolloutOut.of(learning.fleet.get(rollout.rollout_id))


@router.put("/cells/{site}/{area}/{line}/{cell}/model")
def put_cell_model(
    learning: Learning, identity: Controls, path: CellPath, body: ModelBody
) -> CellModelOut:
    """Let a cell follow, pin it to a release, or keep it from changing."""
    row = learning.fleet.set_mode(path, body.mode, actor=identity.name, release=body.release)
    return CellModelOut.model_validate(row, from_attributes=True)

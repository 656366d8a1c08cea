"""Releases: bundles under numbers that only rise."""

from datetime import datetime
from pathlib import Path
from typing import Any, Self

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from cloud.api.context import MlEngineer, Viewer
from cloud.api.learning import Learning, ReleaseNumber
from cloud.api.paging import Cursor, Limit, Page, decode_cursor, page_of
from cloud.api.rollouts import RolloutOut
from cloud.db.tables import Release, ReleaseState
from cloud.errors import NotFoundError

router = APIRouter(prefix="/v1/releases", tags=["releases"])

CARD_NAME = "card.html"
CARD_HEADERS = {
    # A bundle may come from elsewhere: its card is shown, but does nothing.
    "Content-Security-Policy": "sandbox; default-src 'none'; img-src data:; "
    "style-src 'unsafe-inline'; frame-ancestors 'self'",
    "X-Frame-Options": "SAMEORIGIN",
    "Cache-Control": "private, max-age=300",
}


class ReleaseBody(BaseModel):
    """A bundle on the server's disk."""

    bundle_dir: str = Field(min_length=1, max_length=1000, pattern=r"^[^\x00]+$")
    name: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9\-]{0,63}$")


class RolloutBody(BaseModel):
    """How to roll out."""

    canary: list[str] = Field(default_factory=list, max_length=1000)
    """Cells of the first wave, as site/area/line/cell; the fleet chooses when empty."""


class ReleaseOut(BaseModel):
    """A release."""

    release: int
    bundle_id: str
    name: str
    state: ReleaseState
    origin: str
    target_path: str | None
    """Path in the signed repository, once it is approved."""
    metrics: dict[str, Any]
    lineage: dict[str, Any]
    categories: list[dict[str, Any]]
    thresholds: dict[str, float]
    run_id: str | None
    rollback_of: int | None
    created_at: datetime
    created_by: str
    approved_at: datetime | None
    approved_by: str | None
    withdrawn_at: datetime | None
    withdrawn_by: str | None

    @classmethod
    def of(cls, row: Release) -> Self:
        """From its row."""
        return cls.model_validate(row, from_attributes=True)


@router.get("")
def list_releases(
    learning: Learning, _viewer: Viewer, limit: Limit = 50, cursor: Cursor = None
) -> Page[ReleaseOut]:
    """Newest first."""
    before = decode_cursor(cursor, int)[0] if cursor else None
    rows = learning.registry.recent(limit=limit + 1, before=before)
    return page_of(rows, limit, item=ReleaseOut.of, key=lambda row: (row.release,))


@router.post("", status_code=201)
def add_release(learning: Learning, identity: MlEngineer, body: ReleaseBody) -> ReleaseOut:
    """Take a bundle from a folder into the registry as a candidate, for instance the baseline."""
    release = learning.registry.add(Path(body.bundle_dir), actor=identity.name, name=body.name)
    return ReleaseOut.of(release)


@router.get("/{release}")
def get_release(learning: Learning, _viewer: Viewer, release: ReleaseNumber) -> ReleaseOut:
    """One release."""
    return ReleaseOut.of(learning.registry.get(release))


@router.get(
    "/{release}/card",
    response_class=Response,
    responses={200: {"content": {"text/html": {}}}},
)
def get_card(learning: Learning, _viewer: Viewer, release: ReleaseNumber) -> Response:
    """The model's card as a page of its own, which may run nothing and load nothing."""
    folder = Path(learning.registry.get(release).bundle_dir)
    try:
        content = (folder / CARD_NAME).read_bytes()
    except OSError as error:
        raise NotFoundError("card of release", release) from error
    return Response(content, media_type="text/html; charset=utf-8", headers=CARD_HEADERS)


@router.post("/{release}/approve")
def approve_release(learning: Learning, identity: MlEngineer, release: ReleaseNumber) -> ReleaseOut:
    """Sign a candidate, so that cells can have it."""
    return ReleaseOut.of(learning.registry.approve(release, actor=identity.name))


@router.post("/{release}/rollout", status_code=202)
def roll_out_release(
    learning: Learning,
    identity: MlEngineer,
    release: ReleaseNumber,
    body: RolloutBody | None = None,
) -> RolloutOut:
    """Bring an approved release to every cell that follows, canary first."""
    canary = body.canary if body else []
    rollout = learning.fleet.start_rollout(release, actor=identity.name, canary=canary)
    return RolloutOut.of(learning.fleet.get(rollout.rollout_id))


@router.post("/{release}/withdraw")
def withdraw_release(
    learning: Learning, identity: MlEngineer, release: ReleaseNumber
) -> ReleaseOut:
    """Take a release out of use; refused while cells should run it."""
    return ReleaseOut.of(learning.registry.withdraw(release, actor=identity.name))

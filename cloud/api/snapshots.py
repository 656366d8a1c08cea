"""Dataset snapshots: the imported one to begin with, and each that labels add to."""

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from cloud.api.context import MlEngineer, Viewer
from cloud.api.learning import Learning
from cloud.api.paging import Cursor, Limit, Page, decode_cursor, page_of
from cloud.db.tables import Snapshot
from models.contract.snapshot import SnapshotManifest

router = APIRouter(prefix="/v1/snapshots", tags=["learning"])

SnapshotId = Annotated[str, Path(pattern="^[0-9a-f]{16}$", description="Identity of the snapshot")]


class SnapshotBody(BaseModel):
    """Where an imported snapshot is; nothing: make one of the newest and all labels since."""

    url: str | None = Field(default=None, min_length=1, max_length=1000, pattern=r"^[^\x00]+$")


class SnapshotOut(BaseModel):
    """A snapshot and its counts."""

    snapshot_id: str
    url: str
    parent: str | None
    created_at: datetime
    created_by: str
    manifest: SnapshotManifest

    @classmethod
    def of(cls, row: Snapshot) -> Self:
        """From its row."""
        return cls.model_validate(row, from_attributes=True)


@router.get("")
def list_snapshots(
    learning: Learning, _viewer: Viewer, limit: Limit = 50, cursor: Cursor = None
) -> Page[SnapshotOut]:
    """Newest first."""
    before = decode_cursor(cursor, datetime)[0] if cursor else None
    rows = learning.datasets.recent(limit=limit + 1, before=before)
    return page_of(rows, limit, item=SnapshotOut.of, key=lambda row: (row.created_at,))


@router.post("", status_code=201)
def make_snapshot(learning: Learning, identity: MlEngineer, body: SnapshotBody) -> SnapshotOut:
    """Register an imported snapshot by its URL, or build the next one from labels.

    The same labels give the same snapshot: building again without new ones answers with the
    newest.
    """
    if body.url is not None:
        return SnapshotOut.of(learning.datasets.register(body.url, actor=identity.name))
    return SnapshotOut.of(learning.datasets.build(actor=identity.name))


@router.get("/{snapshot_id}")
def get_snapshot(learning: Learning, _viewer: Viewer, snapshot_id: SnapshotId) -> SnapshotOut:
    """One snapshot."""
    return SnapshotOut.of(learning.datasets.get(snapshot_id))

"""Dataset snapshots: the imported one to begin with, and each that labels add to."""

from datetime import datetime
from typing import Annotated, Self
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from cloud.api.context import MlEngineer, Viewer
from cloud.api.learning import Learning
from cloud.api.paging import MAX_LIMIT, Cursor, Limit, Page, decode_cursor, page_of
from cloud.db.tables import Snapshot
from cloud.errors import NotFoundError
from cloud.snapshot_pictures import SnapshotPicture, figures_of
from cloud.thumbnails import PictureBrokenError
from models.contract.snapshot import SnapshotManifest, Split

router = APIRouter(prefix="/v1/snapshots", tags=["learning"])

SnapshotId = Annotated[str, Path(pattern="^[0-9a-f]{16}$", description="Identity of the snapshot")]


PictureId = Annotated[
    str, Path(pattern=r"^[^/\x00-\x1f\x7f]{1,200}$", description="Identity of the picture")
]
FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}
"""A snapshot never changes."""


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


class LabelOut(BaseModel):
    """A labelled box; COCO order x, y, width, height in pixels."""

    category: str
    bbox: tuple[float, float, float, float]


class SnapshotPictureOut(BaseModel):
    """A picture of a snapshot; its bytes are at ``url``."""

    image_id: str
    url: str
    part_id: str
    source: str
    split: Split
    width_px: int
    height_px: int
    annotations: list[LabelOut]

    @classmethod
    def of(cls, snapshot_id: str, picture: SnapshotPicture) -> Self:
        """From the snapshot's index."""
        return cls(
            image_id=picture.image_id,
            url=f"/v1/snapshots/{snapshot_id}/pictures/{quote(picture.image_id, safe='')}",
            part_id=picture.part_id,
            source=picture.source,
            split=picture.split,
            width_px=picture.width,
            height_px=picture.height,
            annotations=[LabelOut(category=name, bbox=sides) for name, *sides in picture.boxes],
        )


class CategoryFiguresOut(BaseModel):
    """One category in a snapshot."""

    model_config = ConfigDict(from_attributes=True)

    category: str
    num_boxes: dict[Split, int]
    num_pictures: int
    side_px: tuple[float, float, float]
    """10 %, 50 % and 90 % of the boxes are no larger, as the root of their area."""


class SnapshotFiguresOut(BaseModel):
    """What a snapshot is made of."""

    model_config = ConfigDict(from_attributes=True)

    num_pictures: dict[Split, int]
    num_parts: dict[Split, int]
    num_empty: dict[Split, int]
    """Pictures in which nothing is labelled."""
    sizes: dict[str, int]
    sources: dict[str, int]
    categories: list[CategoryFiguresOut]


class PictureQuery(BaseModel):
    """Filters and page; a misspelt one is an error."""

    model_config = ConfigDict(extra="forbid")

    split: Split | None = None
    category: str | None = Field(default=None, min_length=1, max_length=64)
    limit: int = Field(default=50, ge=1, le=MAX_LIMIT)
    cursor: str | None = Field(default=None, max_length=300)


@router.get("/{snapshot_id}/statistics")
def get_statistics(
    learning: Learning, _viewer: Viewer, snapshot_id: SnapshotId
) -> SnapshotFiguresOut:
    """How many pictures, parts and boxes, how large, from where."""
    snapshot = learning.datasets.get(snapshot_id)
    figures = figures_of(learning.pictures.index(snapshot.url).values())
    return SnapshotFiguresOut.model_validate(figures)


@router.get("/{snapshot_id}/pictures")
def list_pictures(
    learning: Learning,
    _viewer: Viewer,
    snapshot_id: SnapshotId,
    query: Annotated[PictureQuery, Query()],
) -> Page[SnapshotPictureOut]:
    """Pictures of a snapshot by their identity."""
    snapshot = learning.datasets.get(snapshot_id)
    after = decode_cursor(query.cursor, str)[0] if query.cursor else ""
    rows = [
        picture
        for image_id, picture in sorted(learning.pictures.index(snapshot.url).items())
        if image_id > after and is_wanted(picture, query.split, query.category)
    ]
    return page_of(
        rows[: query.limit + 1],
        query.limit,
        item=lambda picture: SnapshotPictureOut.of(snapshot_id, picture),
        key=lambda picture: (picture.image_id,),
    )


@router.get(
    "/{snapshot_id}/pictures/{image_id}",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}, "image/png": {}}}},
)
def get_picture(
    learning: Learning, _viewer: Viewer, snapshot_id: SnapshotId, image_id: PictureId
) -> Response:
    """The bytes of a picture of a snapshot."""
    url = learning.datasets.get(snapshot_id).url
    content = learning.pictures.content(url, image_id)
    kind = "image/png" if content.startswith(b"\x89PNG") else "image/jpeg"
    return Response(content, media_type=kind, headers=FOREVER)


@router.get(
    "/{snapshot_id}/pictures/{image_id}/thumbnail",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}},
)
def get_thumbnail(
    learning: Learning, _viewer: Viewer, snapshot_id: SnapshotId, image_id: PictureId
) -> Response:
    """A small JPEG of it."""
    url = learning.datasets.get(snapshot_id).url
    try:
        small = learning.pictures.small(url, image_id)
    except PictureBrokenError as error:
        raise NotFoundError("thumbnail of", image_id) from error
    return Response(small, media_type="image/jpeg", headers=FOREVER)


def is_wanted(picture: SnapshotPicture, split: Split | None, category: str | None) -> bool:
    """Whether a picture passes the filters."""
    return (split is None or picture.split is split) and (
        category is None or any(name == category for name, *_ in picture.boxes)
    )

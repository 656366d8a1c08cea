"""Labels to and from other tools: COCO, YOLO, VOC, and what Label Studio and FiftyOne read."""

import io
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool

from cloud.api.context import MlEngineer, Viewer
from cloud.api.learning import Learning
from cloud.api.snapshots import SnapshotId
from cloud.errors import UnsupportedError
from cloud.label_archive import export_archive, unpacked
from cloud.label_export import LabelFormat
from cloud.label_import import ImportOutcome

router = APIRouter(prefix="/v1", tags=["learning"])

ZIP = "application/zip"
ARCHIVE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {ZIP: {"schema": {"type": "string", "format": "binary"}}},
    }
}


class ImportOut(BaseModel):
    """What became of an import."""

    model_config = ConfigDict(from_attributes=True)

    num_labelled: int
    num_added: int
    num_unchanged: int
    categories: list[str]
    """That were not known before."""
    refused: dict[str, int]
    """Pictures or boxes that were left out, by reason."""


@router.get(
    "/snapshots/{snapshot_id}/export",
    response_class=StreamingResponse,
    responses={200: {"content": {ZIP: {}}}},
)
def export_snapshot(
    learning: Learning,
    _viewer: Viewer,
    snapshot_id: SnapshotId,
    label_format: Annotated[LabelFormat, Query(alias="format")] = LabelFormat.COCO,
    *,
    pictures: Annotated[bool, Query(description="Put the pictures in, too")] = True,
) -> StreamingResponse:
    """A snapshot as a ZIP archive for another tool."""
    snapshot = learning.datasets.get(snapshot_id)
    learning.pictures.index(snapshot.url)  # a fault is told before the answer begins
    pieces = export_archive(snapshot, learning.pictures, label_format, with_pictures=pictures)
    name = f"{snapshot_id}-{label_format}.zip"
    return StreamingResponse(
        pieces,
        media_type=ZIP,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.post("/labels/import", openapi_extra=ARCHIVE_BODY)
async def import_labels(
    request: Request,
    learning: Learning,
    identity: MlEngineer,
    label_format: Annotated[Literal["coco", "yolo", "voc"], Query(alias="format")] = "coco",
) -> ImportOut:
    """Take in a ZIP archive with labels, and with the pictures that are not here yet.

    A picture is known by its content, or by the name that an export gave it. Larger archives than a
    request may have go through `sightline-cloud labels import`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in {ZIP, "application/octet-stream"}:
        raise UnsupportedError("send a ZIP archive as application/zip")
    content = await request.body()

    def take() -> ImportOutcome:
        with unpacked(io.BytesIO(content)) as folder:
            return learning.label_import.take(folder, label_format, actor=identity.name)

    return ImportOut.model_validate(await run_in_threadpool(take))

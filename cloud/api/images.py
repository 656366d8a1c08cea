"""Pictures by their hash."""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Response

from cloud.api.context import Ctx, Viewer
from cloud.api.schemas import ImageOut
from cloud.db.tables import Image
from cloud.errors import NotFoundError

router = APIRouter(prefix="/v1/images", tags=["images"])

Sha256Path = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


@router.get(
    "/{sha256}",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}, "image/png": {}}}},
)
def get_image(
    context: Ctx,
    _viewer: Viewer,
    sha256: Sha256Path,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """The bytes of a picture; they never change."""
    headers = {
        "ETag": f'"{sha256}"',
        "Cache-Control": "private, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
    }
    with context.database.read() as session:
        image = session.get(Image, sha256)
    if image is None:
        raise NotFoundError("picture", sha256)
    if if_none_match is not None and sha256 in if_none_match:
        return Response(status_code=304, headers=headers)
    return Response(context.images.get(sha256), media_type=image.content_type, headers=headers)


@router.get("/{sha256}/info")
def get_image_info(context: Ctx, _viewer: Viewer, sha256: Sha256Path) -> ImageOut:
    """Where a picture comes from and how its review stands."""
    with context.database.read() as session:
        image = session.get(Image, sha256)
    if image is None:
        raise NotFoundError("picture", sha256)
    return ImageOut.of(image)

"""Pictures by their hash."""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Response

from cloud.api.context import Ctx, Viewer
from cloud.api.schemas import ImageOut
from cloud.db.tables import Image
from cloud.errors import NotFoundError
from cloud.thumbnails import PictureBrokenError

router = APIRouter(prefix="/v1/images", tags=["images"])

# The bytes behind a hash never change, and only who may see them keeps them.
_FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}

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
    headers = _FOR_EVER | {"ETag": f'"{sha256}"'}
    with context.database.read() as session:
        image = session.get(Image, sha256)
    if image is None:
        raise NotFoundError("picture", sha256)
    if if_none_match is not None and sha256 in if_none_match:
        return Response(status_code=304, headers=headers)
    return Response(context.images.get(sha256), media_type=image.content_type, headers=headers)


@router.get(
    "/{sha256}/thumbnail",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}},
)
def get_thumbnail(context: Ctx, _viewer: Viewer, sha256: Sha256Path) -> Response:
    """A small copy of a picture, at most 288 pixels wide."""
    try:
        small = context.thumbnails.get(sha256)
    except PictureBrokenError as error:
        raise NotFoundError("thumbnail of", sha256) from error
    return Response(small, media_type="image/jpeg", headers=_FOR_EVER)


@router.get("/{sha256}/info")
def get_image_info(context: Ctx, _viewer: Viewer, sha256: Sha256Path) -> ImageOut:
    """Where a picture comes from and how its review stands."""
    with context.database.read() as session:
        image = session.get(Image, sha256)
    if image is None:
        raise NotFoundError("picture", sha256)
    return ImageOut.of(image)

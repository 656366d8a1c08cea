"""Central serving: robots that have no cell of their own send pictures here."""

import hashlib
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from cloud.api.context import Operator
from cloud.api.learning import Learning
from cloud.central_inspection import PictureOrder
from cloud.errors import InvalidError, UnsupportedError
from models.contract.idempotency import KeyReusedError
from models.contract.inspection_answer import InspectionAnswer
from models.contract.messages import Identifier

router = APIRouter(prefix="/v1/inspect", tags=["inspection"])

PICTURE_TYPES = ("image/jpeg", "image/png", "application/octet-stream")
BINARY = {"schema": {"type": "string", "format": "binary"}}
PICTURE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "image/jpeg": BINARY,
            "image/png": BINARY,
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}


@router.post("", openapi_extra=PICTURE_BODY)
async def inspect_picture(
    request: Request,
    learning: Learning,
    _operator: Operator,
    *,
    part_id: Annotated[Identifier | None, Query()] = None,
    recipe_id: Annotated[Identifier | None, Query()] = None,
    view: Annotated[Identifier | None, Query()] = None,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> InspectionAnswer:
    """Judge one JPEG or PNG with the released model, as a cell would.

    By a recipe of the server, or, where none is named, by whether any defect is found. A repeated
    `Idempotency-Key` gets the same answer. 429 and 503 say with `Retry-After` when to come again;
    409 says that no model is released.
    """
    desk = learning.inspections
    with desk.place():
        content = await _read_picture(request)
        order = PictureOrder(content, part_id or f"http-{uuid4().hex[:16]}", recipe_id, view)

        async def judge() -> InspectionAnswer:
            return await run_in_threadpool(desk.inspection.inspect, order)

        if idempotency_key is None:
            return await judge()
        wanted = hashlib.sha256(content + repr((part_id, recipe_id, view)).encode())
        try:
            return await desk.answers.once(idempotency_key, wanted.hexdigest(), judge)
        except KeyReusedError as error:
            raise InvalidError(str(error)) from error


async def _read_picture(request: Request) -> bytes:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "multipart/form-data":
        async with request.form(max_files=1, max_fields=10) as form:
            image = form.get("image")
            if not isinstance(image, UploadFile):
                raise InvalidError("the form has no file named image")
            return await image.read()
    if content_type not in PICTURE_TYPES:
        raise UnsupportedError("send image/jpeg, image/png or multipart/form-data")
    return await request.body()

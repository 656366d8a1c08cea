"""Errors as problem documents (RFC 9457), the same form whatever went wrong."""

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from cloud.errors import RequestError, StorageFullError, UnavailableError

LOGGER = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:sightline:problem:"
RETRY_AFTER_S = "1"
HEADERS: dict[int, dict[str, str]] = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": "Bearer"},
    HTTPStatus.TOO_MANY_REQUESTS: {"Retry-After": RETRY_AFTER_S},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": RETRY_AFTER_S},
}
"""What an answer of a status tells besides."""


class Problem(BaseModel):
    """A problem document."""

    type: str = Field(examples=["urn:sightline:problem:not-found"])
    title: str
    status: int
    detail: str
    errors: list[str] = Field(default_factory=list)
    """Each fault of an invalid request, where there are several."""


def problem(
    status: int, slug: str, title: str, detail: str, *, errors: list[str] | None = None
) -> JSONResponse:
    """Make the response."""
    body = Problem(
        type=f"{TYPE_PREFIX}{slug}", title=title, status=status, detail=detail, errors=errors or []
    )
    return JSONResponse(
        body.model_dump(), status_code=status, media_type=MEDIA_TYPE, headers=HEADERS.get(status)
    )


def _on_request_error(_request: Request, error: RequestError) -> JSONResponse:
    return problem(error.status, error.slug, error.title, str(error))


def _on_unavailable(_request: Request, error: UnavailableError) -> JSONResponse:
    if isinstance(error, StorageFullError):
        return problem(507, "storage-full", "Storage full", str(error))
    return problem(503, "unavailable", "Unavailable", str(error))


def _on_invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
    faults = [
        f"{'.'.join(str(step) for step in fault['loc'])}: {fault['msg']}"
        for fault in error.errors()
    ]
    return problem(422, "invalid", "Invalid", faults[0] if faults else "invalid", errors=faults)


def _on_http(_request: Request, error: HTTPException) -> JSONResponse:
    status = HTTPStatus(error.status_code)
    slug = status.phrase.lower().replace(" ", "-")
    response = problem(status, slug, status.phrase, str(error.detail))
    response.headers.update(error.headers or {})
    return response


def _on_surprise(request: Request, error: Exception) -> JSONResponse:
    LOGGER.error("request failed", exc_info=error, extra={"path": request.url.path})
    return problem(500, "internal", "Internal error", "the server's log has the cause")


def install_problems(app: FastAPI) -> None:
    """Answer every error of an application as a problem document."""
    app.add_exception_handler(RequestError, _on_request_error)  # type: ignore[arg-type]
    app.add_exception_handler(UnavailableError, _on_unavailable)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _on_invalid)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _on_http)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, _on_surprise)

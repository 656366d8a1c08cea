"""The agent over HTTP: pictures to judge, probes, metrics.

A picture waits in a bounded queue and is judged beside the PLC's parts, which go first.
``edge_agent.adapters.http_server`` runs this in a thread.
"""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any
from uuid import uuid4

from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from edge_agent.errors import (
    NotReadyError,
    OverloadError,
    StationFault,
    UnknownNameError,
    UnreadablePictureError,
)
from edge_agent.inspection_ports import PictureInspector, PictureRequest
from edge_agent.picture_intake import check_size, decode
from edge_agent.ports import CycleOutcome
from edge_agent.records import detection_records
from models.contract.idempotency import AnswerBook, KeyReusedError
from models.contract.inspection_answer import InspectionAnswer, Timings
from models.contract.messages import Identifier

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = "1"
PICTURE_TYPES = ("image/jpeg", "image/png", "application/octet-stream")
PICTURE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "image/jpeg": {"schema": {"type": "string", "format": "binary"}},
            "image/png": {"schema": {"type": "string", "format": "binary"}},
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


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What a caller may ask for.

    Attributes:
        max_body_bytes: of a request.
        max_pixels: of a picture.
        max_requests: in progress at once; more are sent away with 429 before their body is read.
        timeout_s: from the whole body to the verdict.
    """

    max_body_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    max_requests: int = 16
    timeout_s: float = 5.0


class HealthAnswer(BaseModel):
    """State for a probe."""

    status: str
    station_state: str
    text: str = ""


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    title: str
    status: int
    detail: str = ""


class _ProblemError(Exception):
    def __init__(self, status: int, title: str, detail: str = "", *, retry: bool = False) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.detail = detail
        self.retry = retry

    def response(self) -> JSONResponse:
        problem = Problem(title=self.title, status=self.status, detail=self.detail)
        headers = {"Retry-After": RETRY_AFTER_S} if self.retry else None
        return JSONResponse(
            problem.model_dump(), self.status, headers=headers, media_type=MEDIA_TYPE
        )


def make_app(
    inspector: PictureInspector,
    registry: CollectorRegistry,
    *,
    limits: HttpLimits | None = None,
    version: str = "0",
) -> FastAPI:
    """Build the application.

    Args:
        inspector: judges the pictures.
        registry: what ``/metrics`` shows.
        limits: of requests.
        version: of the agent.
    """
    desk = _Desk(inspector, limits or HttpLimits())
    app = FastAPI(title="Sightline edge agent", version=version, docs_url=None, redoc_url=None)
    _answer_problems(app)

    @app.post(
        "/v1/inspect",
        response_model=InspectionAnswer,
        openapi_extra=PICTURE_BODY,
        responses=_problem_responses(),
    )
    async def inspect(
        request: Request,
        part_id: Annotated[Identifier | None, Query()] = None,
        recipe_id: Annotated[Identifier | None, Query()] = None,
        view: Annotated[Identifier | None, Query()] = None,
        idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
    ) -> Response:
        """Judge one JPEG or PNG by the selected recipe, or by the one that is named."""
        names = _Names(part_id or f"http-{uuid4().hex[:16]}", recipe_id, view)
        # Bytes, not a model: FastAPI would check and convert it twice more.
        answer = await desk.inspect(request, names, idempotency_key)
        return Response(answer, media_type="application/json")

    @app.get("/healthz", responses={503: {"model": HealthAnswer}})
    def healthz(response: Response) -> HealthAnswer:
        """Whether the agent goes round; if not, start it again."""
        health = inspector.health()
        response.status_code = 200 if health.is_live else 503
        status = "live" if health.is_live else "hangs"
        return HealthAnswer(status=status, station_state=health.station_state, text=health.text)

    @app.get("/readyz", responses={503: {"model": HealthAnswer}})
    def readyz(response: Response) -> HealthAnswer:
        """Whether it would judge a part now."""
        health = inspector.health()
        response.status_code = 200 if health.is_ready else 503
        status = "ready" if health.is_ready else "not ready"
        return HealthAnswer(status=status, station_state=health.station_state, text=health.text)

    @app.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return app


@dataclass(frozen=True, slots=True)
class _Names:
    part_id: str
    recipe_id: str | None
    view: str | None


class _Desk:
    """Takes requests in and waits for their verdicts; event loop only."""

    def __init__(self, inspector: PictureInspector, limits: HttpLimits) -> None:
        self._inspector = inspector
        self._limits = limits
        self._num_requests = 0
        self._book = AnswerBook[bytes]()

    async def inspect(self, request: Request, names: _Names, key: str | None) -> bytes:
        if self._num_requests >= self._limits.max_requests:
            raise _ProblemError(429, "Too many requests at once", retry=True)
        self._num_requests += 1
        try:
            data = await self._read_picture(request)
            if key is None:
                return await self._judge(data, names)
            wanted = repr((names.recipe_id, names.view)).encode()
            fingerprint = hashlib.sha256(data + wanted).hexdigest()
            try:
                return await self._book.once(key, fingerprint, lambda: self._judge(data, names))
            except KeyReusedError as error:
                raise _ProblemError(422, str(error)) from error
        finally:
            self._num_requests -= 1

    async def _judge(self, data: bytes, names: _Names) -> bytes:
        limit = self._limits.max_pixels
        check_size(data, max_pixels=limit)
        read = partial(decode, data, max_pixels=limit)
        request = PictureRequest(read, names.part_id, names.recipe_id, names.view)
        future = asyncio.wrap_future(self._inspector.submit(request))
        try:
            outcome = await asyncio.wait_for(future, self._limits.timeout_s)
        except TimeoutError as error:
            text = f"no verdict within {self._limits.timeout_s:g} s"
            raise _ProblemError(503, text, retry=True) from error
        return _answer(outcome).model_dump_json().encode()

    async def _read_picture(self, request: Request) -> bytes:
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type == "multipart/form-data":
            await self._read_body(request)
            async with request.form(max_files=1, max_fields=10) as form:
                image = form.get("image")
                if not isinstance(image, UploadFile):
                    raise _ProblemError(422, "The form has no file named image")
                return await image.read()
        if content_type not in PICTURE_TYPES:
            raise _ProblemError(415, "Send image/jpeg, image/png or multipart/form-data")
        return await self._read_body(request)

    async def _read_body(self, request: Request) -> bytes:
        limit = self._limits.max_body_bytes
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > limit:
            raise _ProblemError(413, "Body too large", f"{limit} bytes are allowed")
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise _ProblemError(413, "Body too large", f"{limit} bytes are allowed")
        # What Request.body() does too: the form is then read from here.
        request._body = bytes(body)  # noqa: SLF001
        return request._body  # noqa: SLF001


def _answer(outcome: CycleOutcome) -> InspectionAnswer:
    return InspectionAnswer(
        result_id=outcome.result_id,
        part_id=outcome.part_id,
        verdict=outcome.verdict,
        reasons=outcome.reasons,
        detections=detection_records(outcome),
        recipe_id=outcome.recipe.recipe_id,
        recipe_version=outcome.recipe.version,
        view=outcome.view.name,
        model=outcome.model,
        timings=Timings(
            inference_ms=round(outcome.timings.inference_ms, 3),
            processing_ms=round(outcome.timings.processing_ms, 3),
        ),
    )


def _problem_responses() -> dict[int | str, dict[str, Any]]:
    retry = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
    texts = {
        404: "There is no such recipe or view",
        413: "The body is too large",
        415: "Neither a JPEG nor a PNG, nor a form with one",
        422: "The picture or a parameter cannot be used, or the key was used for another request",
        429: "Too many pictures wait",
        503: "The station does not inspect, or did not answer in time",
    }
    schema = Problem.model_json_schema()
    return {
        status: {
            "description": text,
            "content": {MEDIA_TYPE: {"schema": schema}},
            **({"headers": retry} if status in {429, 503} else {}),
        }
        for status, text in texts.items()
    }


def _answer_problems(app: FastAPI) -> None:
    causes: tuple[tuple[type[Exception], int, str, bool], ...] = (
        (OverloadError, 429, "Too many pictures wait", True),
        (NotReadyError, 503, "The station does not inspect", True),
        (StationFault, 503, "The station does not inspect", True),
        (UnknownNameError, 404, "Not found", False),
        (UnreadablePictureError, 422, "Picture cannot be used", False),
    )
    for kind, status, title, retry in causes:
        app.add_exception_handler(kind, _handler(status, title, retry=retry))

    @app.exception_handler(_ProblemError)
    def on_problem(_request: Request, error: _ProblemError) -> JSONResponse:
        return error.response()

    @app.exception_handler(HTTPException)
    def on_http(_request: Request, error: HTTPException) -> JSONResponse:
        return _ProblemError(error.status_code, str(error.detail)).response()

    @app.exception_handler(RequestValidationError)
    def on_invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        fault = error.errors()[0]
        where = ".".join(str(step) for step in fault["loc"])
        return _ProblemError(422, "Invalid request", f"{where}: {fault['msg']}").response()


def _handler(
    status: int, title: str, *, retry: bool
) -> Callable[[Request, Exception], JSONResponse]:
    def answer(_request: Request, error: Exception) -> JSONResponse:
        return _ProblemError(status, title, str(error), retry=retry).response()

    return answer

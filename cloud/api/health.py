"""For supervisors and Prometheus: alive, ready, and how it goes."""

from collections.abc import Callable

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from cloud.api.context import Ctx, Viewer
from cloud.db.migration import check_current
from cloud.errors import CloudError

router = APIRouter(tags=["operations"])


class Liveness(BaseModel):
    """The process answers."""

    status: str = "ok"


class Readiness(BaseModel):
    """Whether each part works; what is not ``ok`` says why."""

    is_ready: bool
    parts: dict[str, str]


@router.get("/healthz")
def get_liveness() -> Liveness:
    """Whether the process answers at all."""
    return Liveness()


@router.get("/readyz", responses={503: {"model": Readiness}})
def get_readiness(context: Ctx, response: Response) -> Readiness:
    """Whether requests can be served: database at the right revision, room for pictures."""
    parts = {}
    checks: dict[str, Callable[[], None]] = {
        "database": lambda: check_current(context.database),
        "image_store": lambda: context.images.check_room(0),
    }
    for name, check in checks.items():
        try:
            check()
            parts[name] = "ok"
        except CloudError as error:
            parts[name] = str(error)
    # Without the broker the API serves; only changes of desired state wait.
    parts["broker"] = "ok" if context.learning.is_connected else "not connected"
    is_ready = parts["database"] == parts["image_store"] == "ok"
    response.status_code = 200 if is_ready else 503
    return Readiness(is_ready=is_ready, parts=parts)


@router.get("/metrics", response_class=Response)
def get_metrics(context: Ctx, _viewer: Viewer) -> Response:
    """Prometheus metrics; Prometheus sends a viewer's bearer token."""
    return Response(generate_latest(context.metrics.registry), media_type=CONTENT_TYPE_LATEST)

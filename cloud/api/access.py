"""Writes into the OpenAPI document who may call each endpoint, read off the endpoint itself."""

from collections.abc import Iterable, Iterator
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from cloud.api.context import ROLE_ATTRIBUTE
from cloud.auth import COOKIE
from cloud.db.tables import Role

ROLE_KEY = "x-role"
SCHEMES = {
    "token": {"type": "http", "scheme": "bearer"},
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
}


class Api(FastAPI):
    """FastAPI whose document names the least role that each operation needs."""

    def __init__(self, **facts: Any) -> None:  # noqa: ANN401 - whatever FastAPI takes
        super().__init__(**facts)
        self.endpoints: list[APIRoute] = []

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            document = super().openapi()
            _describe(document, self.endpoints)
            self.openapi_schema = document
        return self.openapi_schema

    def include(self, router: APIRouter) -> None:
        """Take a router's endpoints."""
        self.endpoints.extend(route for route in router.routes if isinstance(route, APIRoute))
        self.include_router(router)


def _describe(document: dict[str, Any], routes: Iterable[APIRoute]) -> None:
    document.setdefault("components", {})["securitySchemes"] = SCHEMES
    for path, method, role in roles_of(routes):
        operation = document["paths"].get(path, {}).get(method)
        if operation is None:
            continue
        operation["security"] = [{name: []} for name in SCHEMES] if role else []
        if role is not None:
            operation[ROLE_KEY] = role.value


def roles_of(routes: Iterable[APIRoute]) -> Iterator[tuple[str, str, Role | None]]:
    """Path, method and least role of every endpoint; None: open to everybody."""
    for route in routes:
        role = next(_roles_in(route.dependant), None)
        for method in route.methods or ():
            yield route.path_format, method.lower(), role


def _roles_in(dependant: Dependant) -> Iterator[Role]:
    role = getattr(dependant.call, ROLE_ATTRIBUTE, None)
    if role is not None:
        yield role
    for inner in dependant.dependencies:
        yield from _roles_in(inner)

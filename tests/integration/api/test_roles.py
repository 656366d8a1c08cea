"""Every role at every endpoint: what the OpenAPI document says about access is what happens."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from cloud.auth import Identity
from cloud.db.tables import Role

OPEN_TO_ALL = {("get", "/healthz"), ("get", "/readyz"), ("post", "/v1/sessions")}
PATH_VALUES = {
    "release": "1",
    "result_id": "00000000-0000-0000-0000-000000000001",
    "sha256": "0" * 64,
    "token_id": "0" * 16,
    "snapshot_id": "0" * 16,
    "letter_id": "1",
    "proposal_id": "1",
}
OWN_AFFAIRS = re.compile(r"^/v1/sessions")
"""What everybody may change: their own session, tokens and password."""
BROKEN = b'{"'
"""A body that no endpoint can read: access is decided before it, and nothing is changed by it."""

NewClient = Callable[[Role | None], TestClient]


def _operations(document: dict[str, Any]) -> list[tuple[str, str, Role | None]]:
    return [
        (method, path, Role(facts["x-role"]) if "x-role" in facts else None)
        for path, operations in document["paths"].items()
        for method, facts in operations.items()
    ]


def _filled(path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: PATH_VALUES.get(match[1], "x"), path)


@pytest.fixture
def operations(client: NewClient) -> list[tuple[str, str, Role | None]]:
    found = _operations(client(None).get("/v1/openapi.json").json())
    assert len(found) > 50
    return found


def test_every_role_gets_exactly_the_endpoints_that_the_document_gives_it(
    client: NewClient, operations: list[tuple[str, str, Role | None]]
) -> None:
    wrong = []
    for role in (None, *Role):
        asking = client(role)
        for method, path, least in operations:
            if (method, path) == ("delete", "/v1/sessions"):
                continue  # it would end the session that the walk goes with
            status = asking.request(method, _filled(path), content=BROKEN).status_code
            if least is None:
                may = True
            elif role is None:
                may = False
            else:
                may = Identity(role, role).may(least)
            if (status in {401, 403}) is may:
                wrong.append((role, method, path, status))
    assert wrong == []


def test_only_health_and_signing_in_are_open_to_everybody(
    operations: list[tuple[str, str, Role | None]],
) -> None:
    assert {(method, path) for method, path, least in operations if least is None} == OPEN_TO_ALL


def test_nobody_who_may_only_look_can_change_anything(
    operations: list[tuple[str, str, Role | None]],
) -> None:
    changing = [
        (method, path)
        for method, path, least in operations
        if method != "get" and least is Role.VIEWER and not OWN_AFFAIRS.match(path)
    ]
    assert changing == []


def test_only_administrators_reach_accounts_and_the_audit_log(
    operations: list[tuple[str, str, Role | None]],
) -> None:
    guarded = re.compile(r"^/v1/(users|tokens|audit|backups|retention)")
    found = {least for _, path, least in operations if guarded.match(path)}
    assert found == {Role.ADMIN}

"""What an attacker tries first: other sites, bombs, paths, floods."""

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from starlette.testclient import TestClient

from cloud.api.context import Context
from cloud.app import create_app
from cloud.auth import COOKIE
from cloud.db.tables import Role
from cloud.settings import Settings

NewClient = Callable[[Role | None], TestClient]
PASSWORD = "correct horse"  # noqa: S105 - of the test's own users


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 10_000)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_another_sites_page_can_change_nothing_with_the_visitors_cookie(
    context: Context, client: NewClient
) -> None:
    context.accounts.set_user("ann", role=Role.ADMIN, password=PASSWORD)
    _, token = context.accounts.sign_in("ann", PASSWORD)
    victim = client(None)
    victim.cookies.set(COOKIE, token)
    paths = victim.get("/v1/openapi.json").json()["paths"]
    evil = {"Origin": "https://evil.example"}
    got_through = [
        (method, path)
        for path, operations in paths.items()
        for method in operations
        if method != "get"
        and victim.request(method, re.sub(r"\{\w+\}", "x", path), headers=evil).status_code != 403
    ]
    assert got_through == []
    assert victim.get("/v1/sessions/me").json()["name"] == "ann"


def test_the_sessions_cookie_is_kept_from_scripts_and_other_sites(
    context: Context, client: NewClient
) -> None:
    context.accounts.set_user("ann", role=Role.VIEWER, password=PASSWORD)
    signed_in = client(None).post("/v1/sessions", json={"name": "ann", "password": PASSWORD})
    cookie = signed_in.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


def test_a_page_may_load_nothing_from_elsewhere(client: NewClient) -> None:
    policy = client(None).get("/healthz").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http:" not in policy
    assert "frame-ancestors 'none'" in policy


WAYS_OUT = (
    "/v1/images/..%2f..%2fcloud.db",
    "/v1/images/../../cloud.db",
    "/v1/images/%2e%2e%2fcloud.db/thumbnail",
    "/v1/parts/..%2f..%2f..%2fcloud.db",
    "/tuf/metadata/..%2f..%2fcloud.db",
    "/tuf/metadata/%2e%2e/%2e%2e/cloud.db",
    "/tuf/targets/....//....//cloud.db",
    "/tuf/targets//etc/passwd",
    "/v1/retrainings/..%2f..%2fcloud.db",
    "/v1/snapshots/..%2fcloud.db",
)


def test_no_path_leads_out_of_its_folder(
    settings: Settings, client: NewClient, tmp_path: Path
) -> None:
    assert (tmp_path / "cloud.db").is_file()
    for part in ("metadata", "targets"):
        (settings.tuf.dir / part).mkdir(parents=True, exist_ok=True)
    asking = client(Role.ADMIN)
    for path in WAYS_OUT:
        answer = asking.get(path)
        assert answer.status_code in {404, 405, 422}, path
        assert b"SQLite format" not in answer.content
        assert b"root:" not in answer.content


BOMBS = {
    "claims 3.6 gigapixels": _png(60_000, 60_000),
    "claims two billion rows": _png(1, 2_000_000_000),
    "cut JPEG": b"\xff\xd8\xff\xe0" + b"\0" * 100,
    "neither JPEG nor PNG": b"GIF89a" + b"\0" * 100,
    "empty": b"",
}


def test_a_picture_that_is_a_bomb_or_none_is_refused(client: NewClient) -> None:
    asking = client(Role.OPERATOR)
    for name, content in BOMBS.items():
        answer = asking.post("/v1/inspect", content=content, headers={"Content-Type": "image/png"})
        assert 400 <= answer.status_code < 500, name
        assert answer.headers["content-type"] == "application/problem+json"


def _zip(*entries: tuple[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as written:
        for name, content in entries:
            written.writestr(name, content)
    return archive.getvalue()


def test_an_archive_that_is_a_bomb_or_leads_out_of_its_folder_is_refused(
    client: NewClient, tmp_path: Path
) -> None:
    asking = client(Role.ML)
    archives = {
        "a thousand times larger unpacked": _zip(("labels.json", b"0" * 60_000_000)),
        "leads out": _zip(("../../evil.json", b"{}"), ("/tmp/evil.json", b"{}")),  # noqa: S108
        "no archive": b"PK\x03\x04" + b"\0" * 100,
        "empty": b"",
    }
    for name, archive in archives.items():
        answer = asking.post(
            "/v1/labels/import", content=archive, headers={"Content-Type": "application/zip"}
        )
        assert 400 <= answer.status_code < 500, name
        assert answer.headers["content-type"] == "application/problem+json"
    assert not list(tmp_path.rglob("evil*"))


def test_who_asks_too_often_is_told_when_to_come_again(context: Context) -> None:
    http = context.settings.http.model_copy(update={"requests_per_s": 0.001, "request_burst": 3})
    flooded = _with_http(context, http)
    statuses = [flooded.get("/v1/sessions/me").status_code for _ in range(4)]
    assert statuses == [401, 401, 401, 429]
    refused = flooded.get("/v1/sessions/me")
    assert 900 <= int(refused.headers["retry-after"]) <= 1_000
    assert refused.json()["type"] == "urn:sightline:problem:too-many-requests"
    # A supervisor's question is never refused, nor another's token.
    assert flooded.get("/healthz").status_code == 200
    other = flooded.get("/v1/sessions/me", headers={"Authorization": "Bearer other"})
    assert other.status_code == 401


def _with_http(context: Context, http: object) -> TestClient:
    settings = context.settings.model_copy(update={"http": http})
    return TestClient(create_app(replace(context, settings=settings), with_dashboard=False))

"""The learning half over HTTP, from a stored picture to a rollback."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from cloud.app import build_context, create_app
from cloud.db.session import Database
from cloud.settings import Settings


class Api:
    """Asks the application without a socket."""

    def __init__(self, app: FastAPI, base_url: str) -> None:
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._base_url = base_url

    def request(self, method: str, path: str, *, json: object = None) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(
                transport=self._transport, base_url=self._base_url
            ) as client:
                return await client.request(method, path, json=json)

        return asyncio.run(ask())

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def post(self, path: str, *, json: object = None) -> httpx.Response:
        return self.request("POST", path, json=json)

    def put(self, path: str, *, json: object) -> httpx.Response:
        return self.request("PUT", path, json=json)


@pytest.fixture
def api(settings: Settings, database: Database) -> Iterator[Api]:
    """The API without its threads; ``database`` has made the tables."""
    assert database.is_sqlite
    context = build_context(settings)
    context.learning.repository.ensure()
    app = create_app(context, with_dashboard=False)
    yield Api(app, f"http://127.0.0.1:{settings.http.port}")
    context.database.close()


def test_a_picture_is_labelled_through_the_queue(api: Api, add_image: Callable[..., str]) -> None:
    found = ({"category": "bolt", "score": 0.9, "bbox": [1, 2, 3, 4]},)
    sha256 = add_image(0, "novelty", detections=found)
    (item,) = api.get("/v1/review").json()["items"]
    assert (item["sha256"], item["revision"]) == (sha256, 0)
    assert item["proposals"] == [{"category": "bolt", "bbox": [1, 2, 3, 4], "score": 0.9}]
    category = {"name": "torn_label", "kind": "defect"}
    assert api.post("/v1/categories", json=category).status_code == 201
    body = {
        "decision": "labelled",
        "annotations": [{"category": "torn_label", "bbox": [5, 6, 7, 8]}],
        "reviewer": "oracle",
        "revision": 0,
    }
    saved = api.put(f"/v1/review/{sha256}", json=body).json()
    assert (saved["status"], saved["reviewer"], saved["revision"]) == ("labelled", "oracle", 1)
    refused = api.put(f"/v1/review/{sha256}", json=body)
    assert refused.status_code == 409
    assert refused.headers["content-type"] == "application/problem+json"
    assert api.get("/v1/review/counts").json()["labelled"] == 1
    assert api.post(f"/v1/review/{sha256}/undo").json()["status"] == "pending"
    revisions = api.get(f"/v1/review/{sha256}/revisions").json()
    assert [revision["revision"] for revision in revisions] == [2, 1]


def test_a_bundle_is_released_rolled_out_and_taken_back(
    api: Api,
    make_bundle: Callable[..., Path],
    add_cell: Callable[..., str],
) -> None:
    cell = add_cell("c1")
    for number, text in enumerate(("old", "new"), start=1):
        body = {"bundle_dir": str(make_bundle(text)), "name": "plate"}
        assert api.post("/v1/releases", json=body).json()["release"] == number
        assert api.post(f"/v1/releases/{number}/approve").json()["state"] == "approved"
        started = api.post(f"/v1/releases/{number}/rollout")
        assert started.status_code == 202
        assert started.json()["waves"] == [[cell]]
    assert api.get("/v1/rollouts").json()["items"][1]["state"] == "superseded"
    assert api.post("/v1/rollbacks", json={}).status_code == 409, "nothing was rolled out whole"
    assert api.post("/v1/rollbacks", json={"release": 1}).json()["release"] == 3
    pinned = api.put(f"/v1/cells/{cell}/model", json={"mode": "pin", "release": 3})
    assert pinned.json()["pinned_release"] == 3
    assert api.post("/v1/releases/3/withdraw").status_code == 409, "a cell wants it"
    assert api.get("/tuf/metadata/timestamp.json").status_code == 200
    actions = [entry["action"] for entry in api.get("/v1/audit").json()["items"]]
    assert actions[:3] == ["pin cell", "start rollout", "approve release"]


def test_snapshots_and_runs_are_listed(api: Api, base_snapshot: Path) -> None:
    made = api.post("/v1/snapshots", json={"url": str(base_snapshot)})
    assert made.status_code == 201
    assert api.get("/v1/snapshots").json()["items"][0]["snapshot_id"] == made.json()["snapshot_id"]
    started = api.post("/v1/retrainings")
    assert started.status_code == 202
    run_id = started.json()["run_id"]
    assert api.post("/v1/retrainings").status_code == 409
    assert api.get(f"/v1/retrainings/{run_id}").json()["history"] == []
    assert api.post(f"/v1/retrainings/{run_id}/cancel").json()["state"] == "cancelled"
    assert api.get("/v1/retrainings/outlook").json()["would_start"] is False


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("get", "/v1/review?cursor=nonsense", None, 422),
        ("get", "/v1/review?reason=boredom", None, 422),
        ("get", f"/v1/review/{'0' * 64}", None, 404),
        ("get", "/v1/review/short", None, 422),
        ("get", "/v1/releases/7", None, 404),
        ("post", "/v1/releases", {"bundle_dir": "/nowhere"}, 422),
        ("post", "/v1/snapshots", {"url": "nosuchscheme://x"}, 422),
        ("post", "/v1/snapshots", {}, 409),
        ("get", "/v1/retrainings/none", None, 422),
        ("put", "/v1/cells/a/b/c/d/model", {"mode": "follow"}, 404),
        ("post", "/v1/categories", {"name": "../etc", "kind": "defect"}, 422),
    ],
)
def test_every_fault_is_a_problem_document(
    api: Api, method: str, path: str, body: object, status: int
) -> None:
    answer = api.request(method, path, json=body)
    assert answer.status_code == status
    assert answer.json()["status"] == status

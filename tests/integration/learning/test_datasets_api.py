"""Looking into snapshots and comparing models over HTTP, on a snapshot that is really there."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from cloud.app import build_context, create_app
from cloud.dataset import Datasets
from cloud.db.session import Database
from cloud.db.tables import ReviewStatus, RunState, TrainingRun
from cloud.labeling import Labeling
from cloud.review_items import LabelledBox
from cloud.settings import Settings
from models.contract.picture_results import (
    CANDIDATE,
    RESULTS_NAME,
    ComparedModel,
    FoundBox,
    PictureResult,
    ResultsHead,
    TrueBox,
    write_results,
)

BOLT = LabelledBox("bolt", (5.0, 6.0, 20.0, 10.0))
Get = Callable[[str], httpx.Response]


@pytest.fixture
def get(settings: Settings, database: Database) -> Iterator[Get]:
    assert database.is_sqlite
    context = build_context(settings)
    app = create_app(context, with_dashboard=False)

    def ask(path: str) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            base_url = f"http://127.0.0.1:{settings.http.port}"
            async with httpx.AsyncClient(transport=transport, base_url=base_url) as client:
                return await client.get(path)

        return asyncio.run(send())

    yield ask
    context.database.close()


@pytest.fixture
def snapshot_id(
    labeling: Labeling,
    datasets: Datasets,
    add_image: Callable[..., str],
    base_snapshot: Path,
) -> str:
    """Ten labelled pictures."""
    datasets.register(str(base_snapshot), actor="anna")
    for number in range(10):
        sha256 = add_image(number, "novelty")
        boxes = [BOLT] if number else []
        labeling.save(sha256, decision=ReviewStatus.LABELLED, boxes=boxes, reviewer="anna")
    return datasets.build(actor="anna").snapshot_id


def test_a_snapshot_tells_its_figures_and_gives_its_pictures(get: Get, snapshot_id: str) -> None:
    figures = get(f"/v1/snapshots/{snapshot_id}/statistics").json()
    assert sum(figures["num_pictures"].values()) == 10
    assert sum(figures["num_empty"].values()) == 1
    (bolt,) = figures["categories"]
    assert (bolt["num_pictures"], bolt["side_px"]) == (9, [14.1, 14.1, 14.1])
    first = get(f"/v1/snapshots/{snapshot_id}/pictures?limit=7").json()
    rest = get(f"/v1/snapshots/{snapshot_id}/pictures?limit=7&cursor={first['next']}").json()
    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (7, 3, None)
    only = get(f"/v1/snapshots/{snapshot_id}/pictures?category=bolt").json()["items"]
    assert len(only) == 9
    assert only[0]["annotations"] == [{"category": "bolt", "bbox": [5.0, 6.0, 20.0, 10.0]}]
    content = get(only[0]["url"])
    assert content.content.startswith(b"picture ")
    assert "immutable" in content.headers["cache-control"]
    assert get(f"{only[0]['url']}/thumbnail").status_code == 404, "it is no real picture"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/snapshots/{}/pictures/unknown", 404),
        ("/v1/snapshots/{}/pictures?split=nonsense", 422),
        ("/v1/snapshots/0123456789abcdef/statistics", 404),
        ("/v1/retrainings/20250101-1/comparison", 404),
        ("/v1/releases/1/card", 404),
    ],
)
def test_what_is_not_there_is_told(get: Get, snapshot_id: str, path: str, status: int) -> None:
    assert get(path.format(snapshot_id)).status_code == status


def test_a_run_tells_where_its_models_differ_and_which_labels_it_doubts(
    get: Get, snapshot_id: str, database: Database, tmp_path: Path, clock: Callable[[], object]
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    run = TrainingRun(
        run_id="20260302-060000-abc", state=RunState.SUCCEEDED, trigger="button",
        requested_by="anna", snapshot_id=snapshot_id, directory=str(folder), created_at=clock(),
    )  # fmt: skip
    with database.write() as session:
        session.add(run)
    assert get("/v1/retrainings/20260302-060000-abc/comparison").status_code == 404
    image_id = get(f"/v1/snapshots/{snapshot_id}/pictures").json()["items"][0]["image_id"]
    label = TrueBox(category="bolt", bbox=(5, 6, 20, 10))
    box = FoundBox(category="torn_label", score=0.97, bbox=(40, 30, 10, 10))
    picture = PictureResult(image_id=image_id, labels=(label,), found={CANDIDATE: (box,)})
    model = ComparedModel(bundle_id="a" * 16)
    head = ResultsHead(snapshot_id=snapshot_id, models={CANDIDATE: model})
    write_results(folder / RESULTS_NAME, head, [picture])
    base = "/v1/retrainings/20260302-060000-abc"
    assert get(f"{base}/comparison").json()["counts"]["same"] == 1
    (compared,) = get(f"{base}/comparison/pictures").json()["items"]
    assert compared["candidate"]["misses"] == [label.model_dump(mode="json")]
    assert get(compared["url"]).status_code == 200
    doubts = get(f"{base}/label-doubts").json()
    assert [(doubt["kind"], doubt["category"]) for doubt in doubts] == [
        ("unlabelled", "torn_label"),
        ("nothing_there", "bolt"),
    ]


def test_the_lineage_leads_from_the_snapshot_to_the_cells(
    get: Get, snapshot_id: str, add_cell: Callable[..., str]
) -> None:
    cell = add_cell("c1", runs=0)
    graph = get("/v1/lineage").json()
    keys = {node["key"] for node in graph["nodes"]}
    assert {f"snapshot:{snapshot_id}", f"cell:{cell}"} <= keys

"""Charts, reports, operating points and searches by score, over both databases."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from starlette.testclient import TestClient

from cloud import score_search
from cloud.api.context import Context
from cloud.app import build_context
from cloud.arrivals import Delivery, read_delivery
from cloud.db.migration import migrate
from cloud.db.tables import Release, ReleaseState, Role
from cloud.ingest_store import IngestStore
from cloud.settings import Settings
from cloud.shifts import SHIFT_STARTS
from models.contract.messages import (
    DetectionRecord,
    Event,
    Inspection,
    Reason,
    ReasonCode,
    Verdict,
)
from models.contract.topics import CellAddress, Channel

NewClient = Callable[[Role | None], TestClient]
CELL = CellAddress("plant", "assembly", "line1", "cell1")
START = datetime(2026, 1, 1, 8, tzinfo=UTC)
SINCE = {"since": START.isoformat()}


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    url = "sqlite:///cloud.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    plain: dict[str, Any] = {"database": {"url": url}, "storage": {"min_free_bytes": 0}}
    return Settings(**plain).anchored(tmp_path)


@pytest.fixture
def context(settings: Settings) -> Iterator[Context]:
    context = build_context(settings)
    migrate(context.database)
    _inspect_all(context)
    yield context
    context.database.close()


def _inspect_all(context: Context) -> None:
    """Four hours of a hundred parts; in the third a quarter is rejected for scratches."""
    arrivals = []
    for number in range(400):
        hour = number // 100
        is_bad = number % (4 if hour == 2 else 20) == 0
        body = Inspection(
            result_id=UUID(int=number + 1),
            job_id=UUID(int=number + 1),
            trigger_id=f"T{number}",
            part_id=f"P{number}",
            verdict=Verdict.NOT_OK if is_bad else Verdict.OK,
            reasons=(Reason(code=ReasonCode.DEFECT, category="scratch"),) if is_bad else (),
            detections=(
                DetectionRecord(category="bolt", score=0.9, bbox=(1, 2, 3, 4)),
                DetectionRecord(category="scratch", score=number / 400, bbox=(1, 2, 3, 4)),
            ),
            recipe_id="plate",
            recipe_version=1,
            processing_ms=10.0,
        )
        event = Event(
            cell=str(CELL),
            boot_id=UUID(int=9),
            seq=number + 1,
            created_at=START + timedelta(seconds=36 * number),
            body=body,
        )
        arrival = read_delivery(Delivery(CELL.topic(Channel.EVENT), event.to_bytes(), (), START))
        assert arrival is not None
        arrivals.append(arrival)
    IngestStore(context.database, context.images).write(arrivals)


def test_the_p_chart_shows_the_hour_in_which_something_went_wrong(client: NewClient) -> None:
    chart = client(Role.VIEWER).get("/v1/statistics/p-chart", params={"bucket_s": 3600}).json()
    assert [(point["rejects"], point["n"]) for point in chart["points"]] == [
        (5, 100),
        (5, 100),
        (25, 100),
        (5, 100),
    ]
    assert chart["centre"] == pytest.approx(0.1)
    assert [point["signal"] for point in chart["points"]] == [None, None, "above", None]


def test_the_shift_report_tells_the_same_in_every_form(client: NewClient) -> None:
    asking = client(Role.VIEWER)
    report = asking.get("/v1/reports/shift", params=SINCE).json()
    assert report["summaries"]["all cells"]["first_pass"]["count"] == 360
    assert list(report["summaries"]) == ["all cells", str(CELL)]
    table = asking.get("/v1/reports/shift", params=SINCE | {"format": "csv"})
    assert "attachment" in table.headers["content-disposition"]
    rows = [line.split(",") for line in table.text.splitlines()]
    assert ["first-pass yield", "all cells", "360", "400"] in [row[:4] for row in rows]
    assert ["pareto", "defect scratch", "40"] in [row[:3] for row in rows]
    page = asking.get("/v1/reports/shift", params=SINCE | {"format": "html"}).text
    assert "360 of 400" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_report_of_the_last_shift_ends_where_the_shift_that_runs_begins(
    client: NewClient,
) -> None:
    last, current = (
        client(Role.VIEWER).get("/v1/reports/shift", params={"shift": shift}).json()["window"]
        for shift in ("last", "current")
    )
    assert last["until"] == current["since"]
    assert current["until"] is None
    began = [datetime.fromisoformat(window["since"]).astimezone() for window in (last, current)]
    assert all(moment.time() in SHIFT_STARTS for moment in began)


def test_a_search_by_score_finds_the_class_in_its_band_page_by_page(
    client: NewClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A search looks through so many results at once; here in five bites.
    monkeypatch.setattr(score_search, "NUM_LOOKED_THROUGH", 80)
    asking = client(Role.VIEWER)
    query = {"detected": "scratch", "score_from": 0.2, "score_to": 0.25, "limit": 7}
    seen: list[str] = []
    pages = 0
    while True:
        page = asking.get("/v1/results", params=query).json()
        seen += [item["part_id"] for item in page["items"]]
        pages += 1
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert seen == [f"P{number}" for number in range(100, 79, -1)]
    assert pages > 5
    nothing = {"detected": "scratch", "verdict": "not_ok", "score_from": 0.999}
    assert asking.get("/v1/results", params=nothing).json()["items"] == []


def _release(context: Context) -> None:
    curve = {
        "thresholds": [0.2, 0.4, 0.6],
        "recall": [1.0, 0.95, 0.5],
        "precision": [0.7, 0.9, None],
        "false_alarms_per_image": [0.5, 0.1, 0.0],
        "num_boxes": 40,
    }
    analysis = {"num_pictures": 120, "per_class": {"scratch": {"curve": curve}}}
    with context.database.write() as session:
        session.add(
            Release(
                bundle_id="0" * 16,
                name="plate",
                state=ReleaseState.ROLLED_OUT,
                origin="import",
                bundle_dir="x",
                metrics={"analysis": analysis},
                lineage={},
                categories=[
                    {"name": "scratch", "kind": "defect"},
                    {"name": "bolt", "kind": "object"},
                ],
                thresholds={"scratch": 0.4, "bolt": 0.5},
                created_at=START,
                created_by="x",
            )
        )


def test_an_operating_point_is_proposed_by_quality_and_decided_by_controls(
    context: Context, client: NewClient
) -> None:
    _release(context)
    quality, controls = client(Role.QUALITY), client(Role.CONTROLS)
    [curve] = quality.get("/v1/releases/1/curves").json()
    assert (curve["chosen"], curve["num_images"], len(curve["points"])) == (0.4, 120, 3)
    body = {"release": 1, "thresholds": {"scratch": 0.2, "bolt": 0.5}, "note": "escapes"}
    made = quality.post("/v1/recipe-proposals", json=body).json()
    assert made["thresholds"] == {"scratch": 0.2}
    assert made["expected"]["scratch"]["recall"] == 1.0
    path = f"/v1/recipe-proposals/{made['id']}/decision"
    assert quality.post(path, json={"accept": True}).status_code == 403
    assert controls.post(path, json={"accept": True}).json()["state"] == "accepted"
    assert controls.post(path, json={"accept": False}).status_code == 409
    unknown = {"release": 1, "thresholds": {"dent": 0.2}}
    assert quality.post("/v1/recipe-proposals", json=unknown).status_code == 422
    unchanged = {"release": 1, "thresholds": {"scratch": 0.4}}
    assert quality.post("/v1/recipe-proposals", json=unchanged).status_code == 422
    assert quality.get("/v1/recipe-proposals").json()["items"][0]["state"] == "accepted"


def test_a_proposal_goes_into_the_recipes_next_version_and_to_its_cells(
    context: Context, client: NewClient
) -> None:
    _release(context)
    quality, controls = client(Role.QUALITY), client(Role.CONTROLS)
    body = {"release": 1, "thresholds": {"scratch": 0.2}}
    proposal = quality.post("/v1/recipe-proposals", json=body).json()["id"]
    path = f"/v1/recipe-proposals/{proposal}/send"
    assert controls.post(path, json={"recipe_id": "plate"}).status_code == 409
    recipe = {
        "recipe_id": "plate",
        "version": 4,
        "part_type": "plate",
        "image_width_px": 640,
        "image_height_px": 512,
        "views": [
            {
                "expected": [{"name": "bolt 1", "category": "bolt", "min_score": 0.6}],
                "forbidden": [{"category": "scratch", "min_area_px": 12}],
            }
        ],
    }
    sent = controls.post("/v1/recipes", json={"recipe": recipe, "cells": [str(CELL)]})
    assert sent.status_code == 201
    assert quality.post(path, json={"recipe_id": "plate"}).status_code == 403
    assert controls.post(path, json={"recipe_id": "plate"}).json()["state"] == "accepted"
    newest = controls.get("/v1/recipes").json()["items"][0]
    [view] = newest["recipe"]["views"]
    assert (newest["version"], view["forbidden"][0]["min_score"]) == (5, 0.2)
    assert (view["forbidden"][0]["min_area_px"], view["expected"][0]["min_score"]) == (12, 0.6)
    assert controls.post(path, json={"recipe_id": "plate"}).status_code == 409

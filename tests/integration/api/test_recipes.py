"""Recipes for the cells: sent once a version, answered by the cell, refused where they are old."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from cloud.api.context import Context
from cloud.arrivals import Delivery, read_delivery
from cloud.cli import app as cli
from cloud.db.tables import Cell, Role
from cloud.desired import DesiredPublisher
from cloud.ingest_store import IngestStore
from models.contract.messages import DesiredRecipe, Event, Reported, StationEvent
from models.contract.recipe import Recipe
from models.contract.recipe_toml import to_toml
from models.contract.topics import CellAddress, Channel

NewClient = Callable[[Role | None], TestClient]
CELLS = tuple(CellAddress("plant", "assembly", "line1", f"cell{number}") for number in (1, 2))


class Link:
    """What the broker was told to keep."""

    def __init__(self) -> None:
        self.generation = 0
        self.is_there = True
        self.sent: list[tuple[str, DesiredRecipe]] = []

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        assert retain
        if self.is_there:
            self.sent.append((topic, DesiredRecipe.from_bytes(payload)))
        return self.is_there


@pytest.fixture(autouse=True)
def cells(context: Context) -> None:
    now = datetime.now(UTC)
    with context.database.write() as session:
        session.add_all(Cell(cell=str(cell), first_seen_at=now) for cell in CELLS)


def recipe(version: int = 2, **fields: object) -> dict[str, Any]:
    values: dict[str, Any] = {
        "recipe_id": "plate",
        "version": version,
        "part_type": "plate",
        "image_width_px": 640,
        "image_height_px": 512,
        "views": [
            {
                "name": "top",
                "forbidden": [{"category": "scratch"}],
                "camera_features": {"ExposureTime": 800},
            }
        ],
    }
    return values | fields


def push(client: TestClient, wanted: dict[str, Any], *cells: CellAddress) -> Any:  # noqa: ANN401
    names = [str(cell) for cell in cells or CELLS]
    return client.post("/v1/recipes", json={"recipe": wanted, "cells": names})


def hear(context: Context, cell: CellAddress, body: StationEvent, seq: int) -> None:
    now = datetime.now(UTC) + timedelta(seconds=seq)
    event = Event(cell=str(cell), boot_id=UUID(int=7), seq=seq, created_at=now, body=body)
    arrival = read_delivery(Delivery(cell.topic(Channel.EVENT), event.to_bytes(), (), now))
    assert arrival is not None
    IngestStore(context.database, context.images).write([arrival])


def test_recipe_goes_to_each_cell_once_and_again_after_each_reconnect(
    context: Context, client: NewClient
) -> None:
    link = Link()
    publisher = DesiredPublisher(context.database, link)
    controls = client(Role.CONTROLS)
    limits = {"thresholds": {"scratch": 0.3}}
    assert push(controls, recipe(2)).status_code == 201
    assert push(controls, recipe(3, **limits), CELLS[0]).status_code == 201
    link.is_there = False
    assert publisher.reconcile() == 0
    link.is_there = True
    assert (publisher.reconcile(), publisher.reconcile()) == (2, 0)
    sent = {topic: desired.recipe for topic, desired in link.sent}
    newest = sent[CELLS[0].topic(Channel.DESIRED_RECIPE)]
    assert (newest.version, newest.views[0].forbidden[0].min_score) == (3, 0.3)
    assert sent[CELLS[1].topic(Channel.DESIRED_RECIPE)].version == 2
    assert newest.views[0].camera_features == {"ExposureTime": 800}
    link.generation += 1
    assert publisher.reconcile() == 2


def test_recipe_file_is_sent_and_listed_from_the_command_line(
    context: Context, tmp_path: Path
) -> None:
    file = tmp_path / "plate.recipe.toml"
    file.write_text(to_toml(Recipe.model_validate(recipe(5))))
    config = tmp_path / "cloud.toml"
    config.write_text('[database]\nurl = "sqlite:///cloud.db"\n')
    runner, options = CliRunner(), ["--config", str(config)]
    sent = runner.invoke(cli, ["recipe", "push", str(file), "--cell", str(CELLS[0]), *options])
    assert sent.exit_code == 0, sent.output
    listed = runner.invoke(cli, ["recipe", "list", *options])
    assert listed.output == f"{CELLS[0]}  plate v5  sent\n"
    link = Link()
    assert DesiredPublisher(context.database, link).reconcile() == 1
    assert link.sent[0][1].recipe.version == 5


def test_each_cells_answer_is_shown(context: Context, client: NewClient) -> None:
    viewer = client(Role.VIEWER)
    push(client(Role.CONTROLS), recipe(2))
    assert {one["state"] for one in viewer.get("/v1/recipes").json()["items"]} == {"sent"}
    refusal = "plate v2: camera top: has no feature ExposureTime"
    hear(context, CELLS[0], StationEvent(code="recipe_refused", text=refusal), 1)
    hear(context, CELLS[1], StationEvent(code="recipe_kept", text="plate v2"), 1)
    states = {one["cell"]: one for one in viewer.get("/v1/recipes").json()["items"]}
    refused, kept = (states[str(cell)] for cell in CELLS)
    assert (refused["state"], refused["answer"]) == (
        "refused",
        "camera top: has no feature ExposureTime",
    )
    assert kept["state"] == "kept"
    reported = Reported(
        cell=str(CELLS[1]),
        boot_id=UUID(int=7),
        agent_version="0",
        recipe_id="plate",
        recipe_version=2,
        outbox_records=0,
        outbox_images=0,
        sent_at=datetime.now(UTC),
    )
    with context.database.write() as session:
        session.get_one(Cell, str(CELLS[1])).reported = reported.model_dump(mode="json")
    states = {one["cell"]: one for one in viewer.get("/v1/recipes").json()["items"]}
    assert states[str(CELLS[1])]["state"] == "in_force"


def test_old_version_unknown_cell_and_wrong_recipe_are_refused(client: NewClient) -> None:
    controls = client(Role.CONTROLS)
    push(controls, recipe(2))
    again = push(controls, recipe(2))
    assert again.status_code == 409
    assert "raise the version to 3 or more" in again.json()["detail"]
    elsewhere = CellAddress("plant", "assembly", "line1", "nowhere")
    assert push(controls, recipe(3), elsewhere).status_code == 404
    assert push(controls, recipe(3, views=[])).status_code == 422
    assert push(client(Role.QUALITY), recipe(3)).status_code == 403
    assert push(client(None), recipe(3)).status_code == 401

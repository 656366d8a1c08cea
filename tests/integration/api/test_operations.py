"""Backups, storage and dead letters through the API."""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest
from starlette.testclient import TestClient

from cloud import backups
from cloud.api.context import Context
from cloud.arrivals import Delivery, read_delivery
from cloud.backup import back_up
from cloud.db.tables import DeadLetter, Role
from cloud.errors import CloudError
from cloud.ingest_store import IngestStore
from models.contract.messages import Event, StationEvent
from models.contract.topics import CellAddress, Channel

NewClient = Callable[[Role | None], TestClient]
CELL = CellAddress("plant", "assembly", "line1", "cell1")
NOW = datetime(2026, 1, 1, 8, tzinfo=UTC)


def _wait_for_backup() -> None:
    for thread in threading.enumerate():
        if thread.name == "backup":
            thread.join(60)


def test_a_backup_is_made_once_at_a_time_and_listed_with_its_size(
    context: Context, client: NewClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = client(Role.ADMIN)
    may_go_on = threading.Event()

    def slowly(*arguments: object, **more: object) -> object:
        assert may_go_on.wait(30)
        return back_up(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(backups, "back_up", slowly)
    name = admin.post("/v1/backups").json()["name"]
    assert admin.get("/v1/backups").json()["running"] == name
    assert admin.post("/v1/backups").status_code == 409
    may_go_on.set()
    _wait_for_backup()
    state = admin.get("/v1/backups").json()
    assert (state["running"], state["error"]) == (None, "")
    [item] = state["items"]
    assert (item["name"], item["num_rows"] > 0, item["num_bytes"] > 10_000) == (name, True, True)
    assert (context.backups.folder / name / "backup.json").is_file()


def test_a_backup_that_fails_says_why(client: NewClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_more: object) -> None:
        raise CloudError("the disk is full")

    monkeypatch.setattr(backups, "back_up", fail)
    admin = client(Role.ADMIN)
    admin.post("/v1/backups")
    _wait_for_backup()
    state = admin.get("/v1/backups").json()
    assert (state["items"], "the disk is full" in state["error"]) == ([], True)


def test_storage_is_counted(client: NewClient) -> None:
    use = client(Role.ADMIN).get("/v1/storage").json()
    assert use["database_bytes"] > 10_000
    assert use["free_bytes"] > 0
    assert (use["pictures"], use["dead_letters"]) == ([], 0)


def _set_aside(context: Context, payload: bytes) -> int:
    arrival = read_delivery(Delivery(CELL.topic(Channel.EVENT), payload, (), NOW))
    assert arrival is not None
    IngestStore(context.database, context.images).write([arrival])
    return context.dead_letters.recent(limit=1)[0].id


def test_a_dead_letter_is_listed_downloaded_and_thrown_away(
    context: Context, client: NewClient
) -> None:
    first = _set_aside(context, b'{"x": "<script>"}')
    second = _set_aside(context, b"\xff\x00")
    engineer, admin = client(Role.ML), client(Role.ADMIN)
    page = engineer.get("/v1/dead-letters?limit=1").json()
    assert page["items"][0]["id"] == second
    rest = engineer.get("/v1/dead-letters", params={"cursor": page["next"]}).json()
    assert [item["id"] for item in rest["items"]] == [first]
    assert engineer.get("/v1/dead-letters?cell=a/b/c/d").json()["items"] == []
    file = engineer.get(f"/v1/dead-letters/{first}/payload")
    assert file.content == b'{"x": "<script>"}'
    assert file.headers["content-type"] == "application/octet-stream"
    assert file.headers["x-content-type-options"] == "nosniff"
    assert engineer.delete(f"/v1/dead-letters/{first}").status_code == 403
    assert admin.delete(f"/v1/dead-letters/{first}").status_code == 204
    assert admin.delete(f"/v1/dead-letters/{first}").status_code == 404


def test_a_dead_letter_is_taken_after_all_once_it_can_be_read(
    context: Context, client: NewClient
) -> None:
    admin = client(Role.ADMIN)
    event = Event(
        cell=str(CELL),
        boot_id=UUID(int=9),
        seq=1,
        created_at=NOW,
        body=StationEvent(code="alarm", text="lamp"),
    )
    unreadable = json.loads(event.to_bytes()) | {"schema_version": "2.0"}
    letter = _set_aside(context, json.dumps(unreadable).encode())
    refused = admin.post(f"/v1/dead-letters/{letter}/retry")
    assert (refused.status_code, "schema_version" in refused.json()["detail"]) == (409, True)
    with context.database.write() as session:  # what an older server could not read
        row = session.get_one(DeadLetter, letter)
        row.payload, row.num_bytes = event.to_bytes(), len(event.to_bytes())
    assert admin.post(f"/v1/dead-letters/{letter}/retry").status_code == 204
    assert admin.get(f"/v1/cells/{CELL}/events").json()[0]["text"] == "lamp"
    assert admin.get("/v1/dead-letters").json()["items"] == []

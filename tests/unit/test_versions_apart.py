"""A cell one minor version behind the cloud, and one ahead of it, is understood all the same."""

# ruff: noqa: ANN401 - JSON is anything
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import models.contract
from cloud.arrivals import Delivery, RecordArrival, read_delivery
from cloud.db.types import Base
from cloud.ingest_rows import RECORD_COLUMNS, RecordRows, plain_moment
from models.contract.messages import DesiredModel, Event, IngestAck
from models.contract.topics import CellAddress, Channel

EXAMPLES = Path(models.contract.__file__).parent / "examples"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def ahead(document: Any) -> Any:
    """The same as a later version would say it: more fields on every level."""
    if isinstance(document, dict):
        grown = {name: ahead(value) for name, value in document.items()} | {"of_tomorrow": [1]}
        return grown | ({"schema_version": "1.9"} if "schema_version" in document else {})
    return [ahead(value) for value in document] if isinstance(document, list) else document


def behind(document: Any) -> Any:
    """The same as the first version said it: without what has a default."""
    return document | {"schema_version": "1.0"}


def rows_of(content: bytes) -> list[tuple[str, tuple[Any, ...]]]:
    cell = CellAddress.parse(json.loads(content)["cell"])
    arrival = read_delivery(Delivery(cell.topic(Channel.EVENT), content, (), NOW))
    assert isinstance(arrival, RecordArrival), arrival
    rows = RecordRows(plain_moment)
    rows.add(arrival, arrival.event.created_at)
    return [(table, row) for table, added in rows.tables.items() for row in added]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("Event.*.json")), ids=lambda path: path.stem)
def test_records_of_another_minor_version_become_the_same_rows(path: Path) -> None:
    document = json.loads(path.read_text())
    rows = rows_of(path.read_bytes())
    for change in (ahead, behind):
        assert rows_of(json.dumps(change(document)).encode()) == rows


def test_a_record_with_only_what_the_first_version_had_is_taken() -> None:
    document = json.loads((EXAMPLES / "Event.inspection.json").read_text())
    required = {
        "kind", "result_id", "job_id", "trigger_id", "part_id", "verdict", "recipe_id",
        "recipe_version", "processing_ms",
    }  # fmt: skip
    document["body"] = {name: document["body"][name] for name in required}
    [(table, _)] = rows_of(json.dumps(document).encode())
    assert table == "results"


@pytest.mark.parametrize("message", [IngestAck, DesiredModel])
def test_what_a_newer_cloud_tells_a_cell_is_understood(message: Any) -> None:
    for path in EXAMPLES.glob(f"{message.__name__}.*.json"):
        newer = json.dumps(ahead(json.loads(path.read_text()))).encode()
        told, plain = message.from_bytes(newer), message.from_bytes(path.read_bytes())
        assert told.model_dump(exclude={"schema_version"}) == plain.model_dump(
            exclude={"schema_version"}
        )


def test_another_major_version_is_refused_with_the_reason() -> None:
    content = (EXAMPLES / "Event.inspection.json").read_bytes()
    document = json.loads(content) | {"schema_version": "2.0"}
    assert Event.from_bytes(content)
    cell = CellAddress.parse(document["cell"])
    topic = cell.topic(Channel.EVENT)
    arrival = read_delivery(Delivery(topic, json.dumps(document).encode(), (), NOW))
    assert "schema_version" in getattr(arrival, "reason", "")


def test_records_fill_every_column_of_their_tables() -> None:
    for name, columns in RECORD_COLUMNS.items():
        table = Base.metadata.tables[name]
        assert set(columns) == {column.name for column in table.columns} - {"id"}, name
    for path in EXAMPLES.glob("Event.*.json"):
        for table_name, values in rows_of(path.read_bytes()):
            assert len(values) == len(RECORD_COLUMNS[table_name])

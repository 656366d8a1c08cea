"""The bytes on the wire are the contract: golden files hold them, AsyncAPI describes them."""

import json
import tracemalloc
from pathlib import Path
from uuid import uuid4

import jsonschema
import pytest

from models.contract import asyncapi, messages
from models.contract.model import ContractError
from models.contract.topics import CellAddress, Channel, every_cell, split_topic

GOLDEN = sorted(asyncapi.EXAMPLES.glob("*.json"))


def model_of(path: Path) -> type[messages.Message]:
    model: type[messages.Message] = getattr(messages, path.name.split(".")[0])
    return model


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_bytes_survive_reading_and_writing(path: Path) -> None:
    wire = path.read_bytes().rstrip(b"\n")
    assert model_of(path).from_bytes(wire).to_bytes() == wire


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_examples_validate_against_the_published_schema(path: Path) -> None:
    document = json.loads(asyncapi.DOCUMENT.read_text(encoding="utf-8"))
    schema = {
        "$ref": f"#/components/schemas/{model_of(path).__name__}",
        "components": document["components"],
    }
    jsonschema.Draft202012Validator(schema).validate(json.loads(path.read_bytes()))


def test_asyncapi_document_is_up_to_date() -> None:
    assert asyncapi.DOCUMENT.read_text(encoding="utf-8") == asyncapi.as_text(), (
        "run: python -m models.contract.asyncapi"
    )


def test_every_channel_is_described_and_has_an_example() -> None:
    assert set(asyncapi.CHANNELS) == set(Channel)
    for facts in asyncapi.CHANNELS.values():
        assert list(asyncapi.examples_of(facts.message)), facts.message


def test_fields_of_a_later_minor_version_are_ignored() -> None:
    wire = json.loads((asyncapi.EXAMPLES / "Trigger.first.json").read_bytes())
    later = wire | {"schema_version": "1.9", "colour": "blue"}
    assert messages.Trigger.from_bytes(json.dumps(later).encode()).part_id == wire["part_id"]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"trigger_id":',
        b'{"trigger_id":"T","part_id":"P","recipe_id":"R","schema_version":"2.0"}',
        b'{"trigger_id":"","part_id":"P","recipe_id":"R"}',
        b'{"trigger_id":"T","part_id":"P","recipe_id":"R","deadline_ms":1e999}',
        b'{"trigger_id":"T\\n","part_id":"P","recipe_id":"R"}',
        b"[" * 100_000,
        b" " * (messages.MAX_MESSAGE_BYTES + 1),
    ],
    ids=[
        "empty", "not text", "list", "cut", "other major version", "no identity", "infinite",
        "control character", "deep nesting", "oversized",
    ],
)  # fmt: skip
def test_malformed_payload_is_refused_in_one_line(payload: bytes) -> None:
    with pytest.raises(ContractError) as caught:
        messages.Trigger.from_bytes(payload)
    assert "\n" not in str(caught.value)


def test_image_header_survives_user_properties() -> None:
    wire = (asyncapi.EXAMPLES / "ImageHeader.hard.json").read_bytes()
    header = messages.ImageHeader.from_bytes(wire)
    assert messages.ImageHeader.from_user_properties(header.to_user_properties()) == header


def test_result_of_an_inspection_needs_a_finite_time() -> None:
    wire = json.loads((asyncapi.EXAMPLES / "PlcResult.ok.json").read_bytes())
    text = json.dumps(wire | {"processing_ms": float("nan")}).encode()
    with pytest.raises(ContractError):
        messages.PlcResult.from_bytes(text)


def test_topic_names_cell_and_channel() -> None:
    address = CellAddress.parse("plant1/assembly/line2/cell1")
    topic = address.topic(Channel.TRIGGER)
    assert topic == "sightline/v1/plant1/assembly/line2/cell1/plc/trigger"
    assert split_topic(topic) == (address, Channel.TRIGGER)
    assert (
        every_cell(Channel.EVENT, group="ingest") == "$share/ingest/sightline/v1/+/+/+/+/up/event"
    )


@pytest.mark.parametrize(
    "path", ["a/b/c", "a/b/c/d/e", "a/b/+/d", "a/b/#/d", "a//c/d", "a/b/c/../d"]
)
def test_address_that_could_leave_its_place_is_refused(path: str) -> None:
    with pytest.raises(ContractError):
        CellAddress.parse(path)


def test_ids_that_never_come_again_are_not_kept() -> None:
    def read(count: int) -> None:
        for _ in range(count):
            messages.Trigger.from_bytes(
                b'{"schema_version":"1.0","trigger_id":"%s","part_id":"%s","recipe_id":"plate"}'
                % (uuid4().hex.encode(), uuid4().hex.encode())
            )

    read(10)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    read(1000)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 20_000

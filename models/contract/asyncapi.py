"""The AsyncAPI 3 document of every topic, made from the models themselves.

``python -m models.contract.asyncapi`` writes it beside this file; a test holds it up to date and
validates each example. The examples are the golden files in ``examples/``: the very bytes on the
wire, so an integrator can replay them.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from models.contract import messages
from models.contract.topics import ROOT, Channel

HERE = Path(__file__).parent
DOCUMENT = HERE / "asyncapi.json"
EXAMPLES = HERE / "examples"


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """What the document says of one channel besides its payload."""

    message: type[messages.Message]
    sender: str
    receiver: str
    is_retained: bool
    expiry: str
    summary: str


_PLC, _CELL, _CLOUD = "PLC", "cell", "cloud"
_DEADLINE = "the deadline"
_NEVER = "never"

CHANNELS: dict[Channel, ChannelFacts] = {
    Channel.STATE: ChannelFacts(
        messages.StationStatus, _CELL, "PLC and cloud", True, _NEVER,
        "Who is there and in which state; heartbeat; the last will says offline.",
    ),
    Channel.TRIGGER: ChannelFacts(
        messages.Trigger, _PLC, _CELL, False, _DEADLINE, "A part is in place: inspect it."
    ),
    Channel.ACK: ChannelFacts(
        messages.TriggerAck, _CELL, _PLC, False, _DEADLINE,
        "The trigger was taken, or why not. A repeated trigger_id gets the first answer again.",
    ),
    Channel.ACQUIRED: ChannelFacts(
        messages.Acquired, _CELL, _PLC, False, _DEADLINE,
        "The picture is taken: robot or conveyor may move.",
    ),
    Channel.RESULT: ChannelFacts(
        messages.PlcResult, _CELL, _PLC, False, _DEADLINE,
        "The verdict; held and resent until result_ack or its timeout.",
    ),
    Channel.RESULT_ACK: ChannelFacts(
        messages.ResultAck, _PLC, _CELL, False, _DEADLINE, "The result was read."
    ),
    Channel.COMMAND: ChannelFacts(
        messages.Command, _PLC, _CELL, False, "10 s",
        "Select a recipe, start, stop, reset, or report what a part really was.",
    ),
    Channel.COMMAND_ACK: ChannelFacts(
        messages.CommandAck, _CELL, "PLC or cloud", False, "10 s",
        "Whether the command was carried out.",
    ),
    Channel.EVENT: ChannelFacts(
        messages.Event, _CELL, _CLOUD, False, _NEVER,
        "One record of the outbox; (cell, boot_id, seq) makes it idempotent.",
    ),
    Channel.IMAGE: ChannelFacts(
        messages.ImageHeader, _CELL, _CLOUD, False, _NEVER,
        "A picture: the payload is the raw JPEG or PNG, this header its MQTT user properties.",
    ),
    Channel.REPORTED: ChannelFacts(
        messages.Reported, _CELL, _CLOUD, True, _NEVER, "What runs on the cell and how it goes."
    ),
    Channel.INGEST_ACK: ChannelFacts(
        messages.IngestAck, _CLOUD, _CELL, False, _NEVER,
        "Sent after the database commit: only now may the cell forget these records.",
    ),
    Channel.DESIRED_MODEL: ChannelFacts(
        messages.DesiredModel, _CLOUD, _CELL, True, _NEVER, "The model that should run there."
    ),
    Channel.DESIRED_RECIPE: ChannelFacts(
        messages.DesiredRecipe, _CLOUD, _CELL, True, _NEVER, "The recipe that should be there."
    ),
    Channel.CLOUD_COMMAND: ChannelFacts(
        messages.Command, _CLOUD, _CELL, False, "10 s", "The PLC's commands, sent by the cloud."
    ),
}  # fmt: skip


def examples_of(model: type[messages.Message]) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each golden file of a message."""
    for path in sorted(EXAMPLES.glob(f"{model.__name__}.*.json")):
        yield path.name.split(".")[1], path.read_bytes().rstrip(b"\n")


def document() -> dict[str, Any]:
    """The whole AsyncAPI 3 document."""
    models = sorted({facts.message for facts in CHANNELS.values()}, key=lambda m: m.__name__)
    _, definitions = models_json_schema(
        [(model, "validation") for model in models],
        ref_template="#/components/schemas/{model}",
        schema_generator=GenerateJsonSchema,
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Sightline",
            "version": "1.0.0",
            "description": (
                "PLC, cell and cloud over MQTT v5, QoS 1. Every message carries schema_version; "
                "a receiver ignores fields that it does not know."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {channel.name.lower(): _channel(channel) for channel in CHANNELS},
        "operations": {
            f"{'receive' if facts.receiver == _CELL else 'send'}_{channel.name.lower()}": {
                "action": "receive" if facts.receiver == _CELL else "send",
                "channel": {"$ref": f"#/channels/{channel.name.lower()}"},
                "summary": f"{facts.sender} to {facts.receiver}. {facts.summary}",
            }
            for channel, facts in CHANNELS.items()
        },
        "components": {
            "messages": {model.__name__: _message(model) for model in models},
            "schemas": _plain_discriminators(definitions["$defs"]),
        },
    }


def _plain_discriminators(node: object) -> object:
    """Turn OpenAPI's discriminator objects into AsyncAPI's, which is a property's name."""
    if isinstance(node, dict):
        return {
            key: value["propertyName"]
            if key == "discriminator" and isinstance(value, dict) and "propertyName" in value
            else _plain_discriminators(value)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [_plain_discriminators(item) for item in node]
    return node


def _channel(channel: Channel) -> dict[str, Any]:
    facts = CHANNELS[channel]
    name = facts.message.__name__
    parameters = ("site", "area", "line", "cell")
    return {
        "address": f"{ROOT}/" + "/".join(f"{{{level}}}" for level in parameters) + f"/{channel}",
        "summary": facts.summary,
        "description": (
            f"From {facts.sender} to {facts.receiver}. Retained: "
            f"{'yes' if facts.is_retained else 'no'}. Expires after: {facts.expiry}."
        ),
        "parameters": {level: {"description": f"ISA-95 {level}"} for level in parameters},
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "bindings": {"mqtt": {"bindingVersion": "0.2.0"}},
    }


def _message(model: type[messages.Message]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    is_image = model is messages.ImageHeader
    about: dict[str, Any] = {
        "name": model.__name__,
        "title": (model.__doc__ or "").strip().splitlines()[0],
        "contentType": "image/jpeg" if is_image else "application/json",
        "headers" if is_image else "payload": schema,
    }
    part = "headers" if is_image else "payload"
    about["examples"] = [
        {"name": name, part: json.loads(wire)} for name, wire in examples_of(model)
    ]
    return about


def as_text() -> str:
    """The document as it stands on disk."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(as_text(), encoding="utf-8")

"""From what arrived to rows of tables; pure."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import Table

from cloud.arrivals import ImageArrival, RecordArrival, RefusedArrival
from cloud.db import tables
from models.contract.messages import (
    DetectionRecord,
    Inspection,
    Reason,
    StationEvent,
    Truth,
)

KEPT_PAYLOAD_BYTES = 65_536
MAX_CATEGORY = 64
Row = dict[str, Any]
Values = tuple[Any, ...]

_EVENT_KEY = ("cell", "boot_id", "seq")
UNIQUE_KEYS: dict[str, tuple[str, ...]] = {
    "cells": ("cell",),
    "images": ("sha256",),
    "dead_letters": ("digest",),
}
"""What makes a row of each table the same row, however often it arrives."""
RECORD_COLUMNS: dict[str, tuple[str, ...]] = {
    "results": (
        *_EVENT_KEY, "created_at", "received_at", "result_id", "job_id", "trigger_id", "part_id",
        "view", "verdict", "is_partial", "result_state", "reasons", "detections", "recipe_id",
        "recipe_version", "release", "bundle_id", "model_name", "processing_ms", "inference_ms",
        "image_width_px", "image_height_px", "image_sha256", "mean_grey", "sharpness",
        "hard_reasons", "is_simulated", "is_first",
    ),
    "findings": (*_EVENT_KEY, "position", "code", "category", "created_at"),
    "hard_marks": (*_EVENT_KEY, "reason", "created_at"),
    "truths": (
        *_EVENT_KEY, "created_at", "received_at", "part_id", "actual", "said", "result_id",
    ),
    "station_events": (
        *_EVENT_KEY, "created_at", "received_at", "code", "text", "station_state", "release",
        "bundle_id",
    ),
}  # fmt: skip
"""Columns of the tables that records go into, in the order of their values."""

_REASONS = TypeAdapter(tuple[Reason, ...])
_DETECTIONS = TypeAdapter(tuple[DetectionRecord, ...])


def table_of(model: type[Any]) -> Table:
    """The table behind a mapped class."""
    table: Table = model.__table__
    return table


@dataclass(frozen=True, slots=True)
class Codec:
    """How a database's driver takes what has more than one form."""

    moment: Callable[[datetime], Any]
    identity: Callable[[UUID], Any]


SQLITE = Codec(
    lambda moment: moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds"),
    lambda identity: identity.hex,
)
POSTGRESQL = Codec(datetime.isoformat, str)


def table_name(body: Inspection | Truth | StationEvent) -> str:
    """The table that a record is a row of."""
    return _TABLES[type(body)]


_TABLES: dict[type, str] = {
    Inspection: "results",
    Truth: "truths",
    StationEvent: "station_events",
}


def record_rows(
    arrival: RecordArrival, codec: Codec, *, is_first: bool = False
) -> Iterator[tuple[str, Values]]:
    """Rows that a record adds, each with its table's name.

    Written out by hand: at a thousand records a second the general way costs a core.
    """
    event, body = arrival.event, arrival.event.body
    created_at = codec.moment(event.created_at)
    key = str(arrival.key.cell), codec.identity(event.boot_id), event.seq
    origin = (*key, created_at, codec.moment(arrival.delivery.received_at))
    if isinstance(body, Inspection):
        yield "results", (*origin, *_inspection(body, codec), is_first)
        for position, reason in enumerate(body.reasons):
            category = _cut(reason.category)
            yield "findings", (*key, position, reason.code.value, category, created_at)
        for mark in dict.fromkeys(body.hard_reasons):
            yield "hard_marks", (*key, mark.value, created_at)
    elif isinstance(body, Truth):
        said = body.said.value if body.said is not None else None
        result_id = codec.identity(body.result_id) if body.result_id is not None else None
        yield "truths", (*origin, body.part_id, body.actual.value, said, result_id)
    else:
        model = body.model
        yield (
            "station_events",
            (
                *origin,
                body.code,
                body.text,
                body.station_state.value if body.station_state is not None else None,
                model.release if model else None,
                model.bundle_id if model else None,
            ),
        )


def _inspection(body: Inspection, codec: Codec) -> Values:
    model = body.model
    return (
        codec.identity(body.result_id),
        codec.identity(body.job_id),
        body.trigger_id,
        body.part_id,
        body.view,
        body.verdict.value,
        body.is_partial,
        body.result_state.value,
        _REASONS.dump_json(body.reasons).decode() if body.reasons else "[]",
        _DETECTIONS.dump_json(body.detections).decode() if body.detections else "[]",
        body.recipe_id,
        body.recipe_version,
        model.release if model else None,
        model.bundle_id if model else None,
        model.name if model else None,
        body.processing_ms,
        body.inference_ms,
        body.image_width_px,
        body.image_height_px,
        body.image_sha256,
        body.mean_grey,
        body.sharpness,
        json.dumps(body.hard_reasons) if body.hard_reasons else "[]",
        body.is_simulated,
    )


def _cut(text: str | None) -> str | None:
    return text[:MAX_CATEGORY] if text is not None else None


def image_row(arrival: ImageArrival) -> Row:
    """The row of a picture."""
    header = arrival.header
    return {
        "sha256": header.sha256,
        "content_type": header.content_type,
        "num_bytes": len(arrival.delivery.payload),
        "width_px": header.width_px,
        "height_px": header.height_px,
        "cell": str(arrival.key.cell),
        "boot_id": header.boot_id,
        "seq": header.seq,
        "created_at": header.created_at,
        "received_at": arrival.delivery.received_at,
        "result_id": header.result_id,
        "part_id": header.part_id,
        "view": header.view,
        "hard_reasons": [str(reason) for reason in header.hard_reasons],
        "status": tables.ReviewStatus.PENDING,
        "revision": 0,
    }


def dead_letter_row(arrival: RefusedArrival) -> Row:
    """The row of a message that can never be taken."""
    return {
        "digest": arrival.digest,
        "received_at": arrival.delivery.received_at,
        "topic": arrival.delivery.topic.replace("\0", ""),
        "cell": str(arrival.cell) if arrival.cell else None,
        "reason": arrival.reason.replace("\0", ""),
        "num_bytes": len(arrival.delivery.payload),
        "payload": arrival.delivery.payload[:KEPT_PAYLOAD_BYTES],
    }

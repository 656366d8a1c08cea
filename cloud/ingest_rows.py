"""From what arrived to rows of tables; pure."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

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

_REASONS = TypeAdapter(tuple[Reason, ...]).serializer
_DETECTIONS = TypeAdapter(tuple[DetectionRecord, ...]).serializer


def table_of(model: type[Any]) -> Table:
    """The table behind a mapped class."""
    table: Table = model.__table__
    return table


def plain_moment(moment: datetime) -> str:
    """A moment as SQLite keeps it: in UTC, without saying so."""
    at = moment.astimezone(UTC)
    # Half of what isoformat() costs.
    return "%04d-%02d-%02d %02d:%02d:%02d.%06d" % (  # noqa: UP031 - f-strings are slower here
        at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond,
    )  # fmt: skip


def zoned_moment(moment: datetime) -> str:
    """A moment as PostgreSQL takes it."""
    return f"{plain_moment(moment)}+00"


def table_name(body: Inspection | Truth | StationEvent) -> str:
    """The table that a record is a row of."""
    return _TABLES[type(body)]


_TABLES: dict[type, str] = {
    Inspection: "results",
    Truth: "truths",
    StationEvent: "station_events",
}


class RecordRows:
    """Rows that new records add, by table; identities in hex, which either database takes.

    Written out by hand: at some thousand records a second the general way costs a core.

    Args:
        moment: Writes a moment as the database takes it.
    """

    def __init__(self, moment: Callable[[datetime], str]) -> None:
        self._moment = moment
        self._received = lru_cache(maxsize=256)(moment)  # one reading serves many records
        self.tables: dict[str, list[Values]] = {table: [] for table in RECORD_COLUMNS}

    def add(self, arrival: RecordArrival, at: datetime, *, is_first: bool = False) -> None:
        """Add what one record adds that was made ``at``."""
        event, body = arrival.event, arrival.event.body
        created_at = self._moment(at)
        boot_id = event.boot_id.hex
        received_at = self._received(arrival.delivery.received_at)
        origin = (event.cell, boot_id, event.seq, created_at, received_at)
        if isinstance(body, Inspection):
            self.tables["results"].append((*origin, *_inspection(body), is_first))
            if body.reasons or body.hard_reasons:
                self._add_causes(origin[:3], body, created_at)
        elif isinstance(body, Truth):
            said = body.said.value if body.said is not None else None
            result_id = body.result_id.hex if body.result_id is not None else None
            row = (*origin, body.part_id, body.actual.value, said, result_id)
            self.tables["truths"].append(row)
        else:
            self.tables["station_events"].append((*origin, *_station_event(body)))

    def _add_causes(self, key: Values, body: Inspection, created_at: str) -> None:
        self.tables["findings"] += (
            (*key, position, reason.code.value, _cut(reason.category), created_at)
            for position, reason in enumerate(body.reasons)
        )
        self.tables["hard_marks"] += (
            (*key, mark.value, created_at) for mark in dict.fromkeys(body.hard_reasons)
        )


def _station_event(body: StationEvent) -> Values:
    model = body.model
    return (
        body.code,
        body.text,
        body.station_state.value if body.station_state is not None else None,
        model.release if model else None,
        model.bundle_id if model else None,
    )


def _inspection(body: Inspection) -> Values:
    model = body.model
    return (
        body.result_id.hex,
        body.job_id.hex,
        body.trigger_id,
        body.part_id,
        body.view,
        body.verdict.value,
        body.is_partial,
        body.result_state.value,
        _REASONS.to_json(body.reasons).decode() if body.reasons else "[]",
        _DETECTIONS.to_json(body.detections).decode() if body.detections else "[]",
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

"""From what arrived to rows of tables; pure."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Table

from cloud.arrivals import Arrival, ImageArrival, RecordArrival, RefusedArrival
from cloud.db import tables
from models.contract.messages import Inspection, StationEvent, Truth

KEPT_PAYLOAD_BYTES = 65_536
Row = dict[str, Any]

_EVENT_KEY = ("cell", "boot_id", "seq")
UNIQUE_KEYS: dict[str, tuple[str, ...]] = {
    "cells": ("cell",),
    "results": _EVENT_KEY,
    "findings": (*_EVENT_KEY, "position"),
    "truths": _EVENT_KEY,
    "station_events": _EVENT_KEY,
    "images": ("sha256",),
    "dead_letters": ("digest",),
}
"""What makes a row of each table the same row, however often it arrives."""


def table_of(model: type[Any]) -> Table:
    """The table behind a mapped class."""
    table: Table = model.__table__
    return table


def rows_of(arrival: Arrival) -> list[tuple[Table, Row]]:
    """Rows that an arrival adds, each with its table; a cell's state adds none."""
    if isinstance(arrival, RecordArrival):
        body = arrival.event.body
        make = _BODIES[type(body)]
        rows: list[tuple[Table, Row]] = make(arrival, body)
        return rows
    if isinstance(arrival, ImageArrival):
        return [(table_of(tables.Image), _image_row(arrival))]
    if isinstance(arrival, RefusedArrival):
        return [(table_of(tables.DeadLetter), _dead_letter_row(arrival))]
    return []


def _origin(arrival: RecordArrival) -> Row:
    return {
        "cell": str(arrival.key.cell),
        "boot_id": arrival.key.boot_id,
        "seq": arrival.key.seq,
        "created_at": arrival.event.created_at,
    }


def _inspection_rows(arrival: RecordArrival, body: Inspection) -> list[tuple[Table, Row]]:
    origin = _origin(arrival)
    plain = body.model_dump(exclude={"kind", "model", "reasons", "detections", "hard_reasons"})
    nested = body.model_dump(mode="json", include={"reasons", "detections", "hard_reasons"})
    result = (
        origin
        | plain
        | nested
        | {
            "received_at": arrival.delivery.received_at,
            "release": body.model.release if body.model else None,
            "bundle_id": body.model.bundle_id if body.model else None,
            "model_name": body.model.name if body.model else None,
        }
    )
    findings = [
        origin | {"position": position, "code": reason.code, "category": _cut(reason.category)}
        for position, reason in enumerate(body.reasons)
    ]
    return [
        (table_of(tables.Result), result),
        *((table_of(tables.Finding), finding) for finding in findings),
    ]


def _cut(text: str | None) -> str | None:
    return text[:64] if text is not None else None


def _truth_rows(arrival: RecordArrival, body: Truth) -> list[tuple[Table, Row]]:
    row = _origin(arrival) | body.model_dump(exclude={"kind"})
    return [(table_of(tables.Truth), row | {"received_at": arrival.delivery.received_at})]


def _station_rows(arrival: RecordArrival, body: StationEvent) -> list[tuple[Table, Row]]:
    row = _origin(arrival) | {
        "received_at": arrival.delivery.received_at,
        "code": body.code,
        "text": body.text,
        "station_state": body.station_state,
        "release": body.model.release if body.model else None,
        "bundle_id": body.model.bundle_id if body.model else None,
    }
    return [(table_of(tables.StationLogEntry), row)]


_BODIES: dict[type, Callable[..., list[tuple[Table, Row]]]] = {
    Inspection: _inspection_rows,
    Truth: _truth_rows,
    StationEvent: _station_rows,
}


def _image_row(arrival: ImageArrival) -> Row:
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


def _dead_letter_row(arrival: RefusedArrival) -> Row:
    return {
        "digest": arrival.digest,
        "received_at": arrival.delivery.received_at,
        "topic": arrival.delivery.topic.replace("\0", ""),
        "cell": str(arrival.cell) if arrival.cell else None,
        "reason": arrival.reason.replace("\0", ""),
        "num_bytes": len(arrival.delivery.payload),
        "payload": arrival.delivery.payload[:KEPT_PAYLOAD_BYTES],
    }

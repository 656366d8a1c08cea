"""The audit log."""

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from cloud.api.context import Admin, Ctx
from cloud.api.paging import MAX_LIMIT, Moment, Page, decode_cursor, page_of
from cloud.audit import all_entries, list_entries
from cloud.csv_rows import csv_lines
from cloud.db.tables import AuditEntry

router = APIRouter(prefix="/v1/audit", tags=["admin"])

Text = Annotated[str | None, Field(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]


class AuditOut(BaseModel):
    """Who did what to what."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    details: dict[str, Any]


class AuditQuery(BaseModel):
    """Filters and page of the log; a misspelt one is an error."""

    model_config = ConfigDict(extra="forbid")

    actor: Text = None
    action: Text = None
    subject: Text = None
    since: Moment | None = None
    until: Moment | None = None
    limit: int = Field(default=100, ge=1, le=MAX_LIMIT)
    cursor: str | None = Field(default=None, max_length=300)


FORMATS = {"csv": ("text/csv", "csv"), "jsonl": ("application/x-ndjson", "jsonl")}


class ExportQuery(BaseModel):
    """What to write out; a misspelt filter is an error."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["csv", "jsonl"] = "csv"
    since: Moment | None = None
    until: Moment | None = None


@router.get("")
def list_audit(
    context: Ctx, _admin: Admin, query: Annotated[AuditQuery, Query()]
) -> Page[AuditOut]:
    """Newest first."""
    rows = list_entries(
        context.database,
        limit=query.limit + 1,
        before=decode_cursor(query.cursor, int)[0] if query.cursor else None,
        actor=query.actor,
        action=query.action,
        subject=query.subject,
        since=query.since,
        until=query.until,
    )
    return page_of(
        rows,
        query.limit,
        item=_out,
        key=lambda row: (row.id,),
    )


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {}, "application/x-ndjson": {}}}},
)
def export_audit(
    context: Ctx, _admin: Admin, query: Annotated[ExportQuery, Query()]
) -> StreamingResponse:
    """The whole log, newest first, as CSV or as one JSON document a line."""
    entries = all_entries(context.database, since=query.since, until=query.until)
    if query.format == "csv":
        lines = csv_lines(("id", "at", "actor", "action", "subject", "details"), map(_row, entries))
    else:
        lines = (_out(entry).model_dump_json() + "\n" for entry in entries)
    kind, ending = FORMATS[query.format]
    name = f'attachment; filename="sightline-audit.{ending}"'
    return StreamingResponse(lines, media_type=kind, headers={"Content-Disposition": name})


def _out(entry: AuditEntry) -> AuditOut:
    return AuditOut.model_validate(entry, from_attributes=True)


def _row(entry: AuditEntry) -> tuple[object, ...]:
    details = json.dumps(entry.details, sort_keys=True)
    return (entry.id, entry.at.isoformat(), entry.actor, entry.action, entry.subject, details)

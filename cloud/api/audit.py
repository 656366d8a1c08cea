"""The audit log."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from cloud.api.context import Admin, Ctx
from cloud.api.paging import MAX_LIMIT, Page, decode_cursor, page_of
from cloud.audit import list_entries

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
    limit: int = Field(default=100, ge=1, le=MAX_LIMIT)
    cursor: str | None = Field(default=None, max_length=300)


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
    )
    return page_of(
        rows,
        query.limit,
        item=lambda row: AuditOut.model_validate(row, from_attributes=True),
        key=lambda row: (row.id,),
    )

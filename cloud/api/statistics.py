"""Figures for quality: summary, Pareto, yield over time."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from cloud.api.context import Ctx, Viewer
from cloud.api.paging import Moment
from cloud.api.results import Text
from cloud.statistics import ParetoBar, RecordCount, Summary, Window, YieldPoint
from cloud.statistics_queries import (
    read_pareto,
    read_record_counts,
    read_summary,
    read_yield,
)

router = APIRouter(prefix="/v1/statistics", tags=["statistics"])


class WindowQuery(BaseModel):
    """Which results count."""

    model_config = ConfigDict(extra="forbid")

    cell: Text = None
    since: Moment | None = None
    until: Moment | None = None

    @property
    def window(self) -> Window:
        """What the figures are counted over."""
        return Window(self.cell, self.since, self.until)


class YieldQuery(WindowQuery):
    """Which results count, and how finely."""

    bucket_s: int = Field(default=3600, ge=1, le=604_800)


@router.get("/summary")
def get_summary(context: Ctx, _viewer: Viewer, query: Annotated[WindowQuery, Query()]) -> Summary:
    """Verdicts, first-pass yield, escapes, false rejects, latency, review; rates with n."""
    with context.database.read() as session:
        return read_summary(session, query.window)


@router.get("/records")
def get_record_counts(context: Ctx, _viewer: Viewer) -> list[RecordCount]:
    """Records that arrived, by boot of each cell; compare with what the cell's outbox says."""
    with context.database.read() as session:
        return read_record_counts(session)


@router.get("/pareto")
def get_pareto(
    context: Ctx, _viewer: Viewer, query: Annotated[WindowQuery, Query()]
) -> list[ParetoBar]:
    """Why parts were not OK, largest cause first."""
    with context.database.read() as session:
        return read_pareto(session, query.window)


@router.get("/yield")
def get_yield(
    context: Ctx, _viewer: Viewer, query: Annotated[YieldQuery, Query()]
) -> list[YieldPoint]:
    """First-pass yield over time; at most the latest 1,000 stretches."""
    with context.database.read() as session:
        return read_yield(session, query.window, bucket_s=query.bucket_s)

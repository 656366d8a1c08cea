"""Charts, reports and operating points for quality engineers."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Path, Query
from fastapi.responses import HTMLResponse, Response, StreamingResponse
from pydantic import BaseModel, Field

from cloud.api.context import Controls, Ctx, Quality, Viewer
from cloud.api.learning import ReleaseNumber
from cloud.api.paging import Cursor, Limit, Page, decode_cursor, page_of
from cloud.api.statistics import WindowQuery
from cloud.control_chart import PChart
from cloud.db.recipe_tables import ProposalState, RecipeProposal
from cloud.operating_points import ClassCurve, read_curves
from cloud.shift_report import ShiftReport, bucket_for, read_p_chart, read_report, report_csv
from cloud.shift_report_html import report_html
from cloud.shifts import PlantClock
from cloud.statistics import Window

router = APIRouter(prefix="/v1", tags=["quality"])

ProposalId = Annotated[int, Path(ge=1, le=2**53, description="Number of the proposal")]
Threshold = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
CategoryName = Annotated[str, Field(min_length=1, max_length=64)]


class ChartQuery(WindowQuery):
    """Which results count, and how long a group is."""

    bucket_s: int | None = Field(default=None, ge=60, le=2_592_000)
    """Chosen for at most 48 groups when not given."""


class ReportQuery(WindowQuery):
    """Which results count, and in which form they are told."""

    format: Literal["json", "csv", "html"] = "json"
    shift: Literal["current", "last"] | None = None
    """A shift of the plant's, instead of `since` and `until`."""

    def window_at(self, clock: PlantClock) -> Window:
        """What the report is about."""
        if self.shift is None:
            return self.window
        since, until = clock.stretch("shift" if self.shift == "current" else "last-shift")
        return Window(self.cell, since, until)


class ProposalBody(BaseModel):
    """Scores from which categories should count."""

    release: int = Field(ge=1, le=2**53)
    thresholds: dict[CategoryName, Threshold] = Field(min_length=1, max_length=500)
    recipe_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]{0,63}$")
    note: str = Field(default="", max_length=2_000, pattern=r"^[^\x00]*$")


class DecisionBody(BaseModel):
    """What is decided about a proposal."""

    accept: bool


class SendBody(BaseModel):
    """Which recipe takes a proposal over."""

    recipe_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]{0,63}$")


class ProposalOut(BaseModel):
    """A proposal for a recipe."""

    id: int
    release: int
    recipe_id: str | None
    thresholds: dict[str, float]
    expected: dict[str, Any]
    """By category: recall, precision and false alarms at that score, and before."""
    note: str
    state: ProposalState
    created_at: datetime
    created_by: str
    decided_at: datetime | None
    decided_by: str | None

    @classmethod
    def of(cls, row: RecipeProposal) -> Self:
        """From its row."""
        return cls.model_validate(row, from_attributes=True)


@router.get("/statistics/p-chart")
def get_p_chart(context: Ctx, _viewer: Viewer, query: Annotated[ChartQuery, Query()]) -> PChart:
    """Share of parts not OK at their first inspection, in groups, with control limits."""
    bucket_s = query.bucket_s or bucket_for(query.window, datetime.now(UTC))
    with context.database.read() as session:
        return read_p_chart(session, query.window, bucket_s=bucket_s)


@router.get(
    "/reports/shift",
    response_model=ShiftReport,
    responses={200: {"content": {"text/csv": {}, "text/html": {}}}},
)
def get_shift_report(
    context: Ctx, _viewer: Viewer, query: Annotated[ReportQuery, Query()]
) -> Response | ShiftReport:
    """Everything that a handover needs: rates with n and interval, Pareto, p-chart."""
    with context.database.read() as session:
        report = read_report(session, query.window_at(context.clock), now=datetime.now(UTC))
    if query.format == "html":
        return HTMLResponse(report_html(report))
    if query.format == "csv":
        name = f"sightline-shift-{report.made_at.astimezone():%Y%m%d-%H%M}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(report_csv(report), media_type="text/csv", headers=headers)
    return report


@router.get("/releases/{release}/curves")
def list_curves(context: Ctx, _viewer: Viewer, release: ReleaseNumber) -> list[ClassCurve]:
    """What each score of each category would give on the locked set."""
    return read_curves(context.database, release)


@router.get("/recipe-proposals")
def list_proposals(
    context: Ctx, _viewer: Viewer, limit: Limit = 50, cursor: Cursor = None
) -> Page[ProposalOut]:
    """Newest first."""
    before = decode_cursor(cursor, int)[0] if cursor else None
    rows = context.proposals.recent(limit=limit + 1, before=before)
    return page_of(rows, limit, item=ProposalOut.of, key=lambda row: (row.id,))


@router.post("/recipe-proposals", status_code=201)
def propose_recipe(context: Ctx, identity: Quality, body: ProposalBody) -> ProposalOut:
    """Propose operating points; the release's own stay until somebody changes the recipe."""
    row = context.proposals.propose(
        body.release,
        body.thresholds,
        actor=identity.name,
        recipe_id=body.recipe_id,
        note=body.note,
    )
    return ProposalOut.of(row)


@router.post("/recipe-proposals/{proposal_id}/decision")
def decide_proposal(
    context: Ctx, identity: Controls, proposal_id: ProposalId, body: DecisionBody
) -> ProposalOut:
    """Accept a proposal, once it stands in the recipe, or decline it."""
    row = context.proposals.decide(proposal_id, accept=body.accept, actor=identity.name)
    return ProposalOut.of(row)


@router.post("/recipe-proposals/{proposal_id}/send")
def send_proposal(
    context: Ctx, identity: Controls, proposal_id: ProposalId, body: SendBody
) -> ProposalOut:
    """Send the recipe's next version, with the proposed scores, to every cell that has it."""
    context.drafts.send(proposal_id, body.recipe_id, actor=identity.name)
    return ProposalOut.of(context.proposals.get(proposal_id))

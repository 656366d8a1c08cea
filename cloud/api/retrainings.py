"""Training runs: start one, follow it, end it."""

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Path
from pydantic import BaseModel

from cloud.api.context import MlEngineer, Viewer
from cloud.api.learning import Learning
from cloud.api.paging import Cursor, Limit, Page, decode_cursor, page_of
from cloud.db.tables import RunState, TrainingRun
from cloud.retraining import RunDetails

router = APIRouter(prefix="/v1/retrainings", tags=["learning"])

RunId = Annotated[str, Path(pattern=r"^[0-9a-f\-]{1,32}$", description="Identity of the run")]


class RunOut(BaseModel):
    """A training run."""

    run_id: str
    state: RunState
    trigger: str
    requested_by: str
    snapshot_id: str | None
    init_bundle_id: str | None
    compared_bundle_id: str | None
    parameters: dict[str, Any] | None
    progress: dict[str, Any] | None
    """Newest progress: stage, step, steps, loss, map50, rate, seconds_left."""
    report: dict[str, Any] | None
    """Candidate, running and float model measured on the locked split."""
    gates: list[dict[str, Any]] | None
    """What each gate said: name, passed, text, value, limit."""
    error: str | None
    """Why it led to no release."""
    release: int | None
    """The candidate that came of it."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, row: TrainingRun) -> Self:
        """From its row."""
        return cls.model_validate(row, from_attributes=True)


class RunDetailsOut(RunOut):
    """A run with its progress so far and the end of its log."""

    history: list[dict[str, Any]]
    log_tail: str

    @classmethod
    def of_details(cls, details: RunDetails) -> Self:
        """From the run and its files."""
        run = RunOut.of(details.run).model_dump()
        return cls(**run, history=list(details.history), log_tail=details.log_tail)


class OutlookOut(BaseModel):
    """Whether new labels would start a run now, and why or why not."""

    would_start: bool
    reason: str


@router.get("")
def list_runs(
    learning: Learning, _viewer: Viewer, limit: Limit = 50, cursor: Cursor = None
) -> Page[RunOut]:
    """Newest first."""
    before = decode_cursor(cursor, datetime)[0] if cursor else None
    rows = learning.retraining.recent(limit=limit + 1, before=before)
    return page_of(rows, limit, item=RunOut.of, key=lambda row: (row.created_at,))


@router.post("", status_code=202)
def start_run(learning: Learning, identity: MlEngineer) -> RunOut:
    """Start a run now; refused while another is in progress."""
    return RunOut.of(learning.retraining.request(actor=identity.name))


@router.get("/outlook")
def get_outlook(learning: Learning, _viewer: Viewer) -> OutlookOut:
    """What the policy says now."""
    decision = learning.retraining.outlook()
    return OutlookOut(would_start=decision.start, reason=decision.reason)


@router.get("/{run_id}")
def get_run(learning: Learning, _viewer: Viewer, run_id: RunId) -> RunDetailsOut:
    """One run with its progress so far and the end of its log."""
    return RunDetailsOut.of_details(learning.retraining.details(run_id))


@router.post("/{run_id}/cancel", status_code=202)
def cancel_run(learning: Learning, identity: MlEngineer, run_id: RunId) -> RunOut:
    """End a run; its process is gone within seconds."""
    return RunOut.of(learning.retraining.cancel(run_id, actor=identity.name))

"""Two models of a run picture by picture, doubtful labels, and the whole lineage."""

from typing import Annotated, Any, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import load_only

from cloud.api.context import Ctx, Viewer
from cloud.api.learning import Learning
from cloud.api.paging import MAX_LIMIT, Page, decode_cursor, page_of
from cloud.api.retrainings import RunId
from cloud.comparison import Change, ComparedPicture, DoubtKind, Faults
from cloud.db.tables import Cell, Snapshot, TrainingRun
from cloud.lineage import NodeKind, lineage_of
from models.contract.picture_results import FoundBox, TrueBox

router = APIRouter(prefix="/v1", tags=["learning"])
NUM_OF_A_KIND = 50


class FaultsOut(BaseModel):
    """What one model got right and wrong."""

    model_config = ConfigDict(from_attributes=True)

    hits: list[FoundBox]
    misses: list[TrueBox]
    extras: list[FoundBox]


class ComparedPictureOut(BaseModel):
    """One locked picture."""

    image_id: str
    url: str
    change: Change
    labels: list[TrueBox]
    candidate: FaultsOut
    running: FaultsOut | None


class ComparisonQuery(BaseModel):
    """Filters and page; a misspelt one is an error."""

    model_config = ConfigDict(extra="forbid")

    change: Change | None = None
    category: str | None = Field(default=None, min_length=1, max_length=64)
    limit: int = Field(default=50, ge=1, le=MAX_LIMIT)
    cursor: str | None = Field(default=None, max_length=300)


class DoubtOut(BaseModel):
    """A label that is likely wrong."""

    model_config = ConfigDict(from_attributes=True)

    image_id: str
    kind: DoubtKind
    category: str
    labelled_as: str
    confidence: float
    bbox: tuple[float, float, float, float]


class NodeOut(BaseModel):
    """A snapshot, run, bundle, release or cell."""

    model_config = ConfigDict(from_attributes=True)

    key: str
    kind: NodeKind
    identity: str
    title: str
    note: str


class LineageOut(BaseModel):
    """The graph from pictures to cells."""

    model_config = ConfigDict(from_attributes=True)

    nodes: list[NodeOut]
    edges: list[tuple[str, str]]


class CountsOut(BaseModel):
    """Pictures by how the candidate does on them."""

    snapshot_id: str
    models: dict[str, str]
    """Bundle by role."""
    counts: dict[Change, int]
    categories: list[str]

    @classmethod
    def of(cls, learning: Any, run_id: str, category: str | None) -> Self:  # noqa: ANN401
        """From a run's comparison."""
        found = learning.comparisons.of_run(run_id)
        return cls(
            snapshot_id=found.head.snapshot_id,
            models={role: model.bundle_id for role, model in found.head.models.items()},
            counts=found.counts(category),
            categories=found.categories(),
        )


@router.get("/retrainings/{run_id}/comparison")
def get_comparison(
    learning: Learning,
    _viewer: Viewer,
    run_id: RunId,
    category: Annotated[str | None, Query(min_length=1, max_length=64)] = None,
) -> CountsOut:
    """How often the candidate did better or worse than the running model."""
    return CountsOut.of(learning, run_id, category)


@router.get("/retrainings/{run_id}/comparison/pictures")
def list_compared(
    learning: Learning, _viewer: Viewer, run_id: RunId, query: Annotated[ComparisonQuery, Query()]
) -> Page[ComparedPictureOut]:
    """The locked pictures, those with most faults first."""
    found = learning.comparisons.of_run(run_id)
    chosen = list(enumerate(found.select(change=query.change, category=query.category), start=1))
    after = decode_cursor(query.cursor, int)[0] if query.cursor else 0
    rows = [entry for entry in chosen if entry[0] > after][: query.limit + 1]
    folder = f"/v1/snapshots/{found.head.snapshot_id}/pictures"
    return page_of(
        rows,
        query.limit,
        item=lambda entry: _compared(entry[1], folder, query.category),
        key=lambda entry: (entry[0],),
    )


@router.get("/retrainings/{run_id}/label-doubts")
def list_doubts(learning: Learning, _viewer: Viewer, run_id: RunId) -> list[DoubtOut]:
    """Labels of the locked set that the candidate contradicts with confidence, surest first."""
    found = learning.comparisons.of_run(run_id)
    return [DoubtOut.model_validate(doubt) for doubt in found.doubts]


@router.get("/lineage")
def get_lineage(context: Ctx, learning: Learning, _viewer: Viewer) -> LineageOut:
    """From snapshots over runs, bundles and releases to cells; the newest of each."""
    newest = Snapshot.created_at.desc()
    with context.database.read() as session:
        snapshots = session.scalars(select(Snapshot).order_by(newest).limit(NUM_OF_A_KIND)).all()
        runs = session.scalars(
            # Not their reports, which are long.
            select(TrainingRun)
            .options(load_only(TrainingRun.run_id, TrainingRun.state, TrainingRun.snapshot_id))
            .order_by(TrainingRun.created_at.desc())
            .limit(NUM_OF_A_KIND)
        ).all()
        cells = session.scalars(select(Cell).order_by(Cell.cell)).all()
    releases = learning.registry.recent(limit=NUM_OF_A_KIND)
    return LineageOut.model_validate(lineage_of(snapshots, runs, releases, cells))


def _compared(picture: ComparedPicture, folder: str, category: str | None) -> ComparedPictureOut:
    return ComparedPictureOut(
        image_id=picture.image_id,
        url=f"{folder}/{picture.image_id}",
        change=picture.change(category),
        labels=list(picture.labels),
        candidate=_faults(picture.candidate),
        running=_faults(picture.running) if picture.running else None,
    )


def _faults(faults: Faults) -> FaultsOut:
    return FaultsOut.model_validate(faults)

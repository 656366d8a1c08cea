"""Results and the trace of a part."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from cloud.api.context import Ctx, Viewer
from cloud.api.paging import MAX_LIMIT, Moment, Page, decode_cursor, encode_cursor, page_of
from cloud.api.schemas import ImageOut, ResultOut
from cloud.errors import NotFoundError
from cloud.results import ResultFilter, find_result, find_results, images_of, trace_part
from cloud.score_search import ScoreBand, find_by_score
from models.contract.messages import HardReason, ReasonCode, Verdict

router = APIRouter(prefix="/v1", tags=["results"])

Text = Annotated[str | None, Field(min_length=1, max_length=131, pattern=r"^[^\x00]+$")]


class AnnotationOut(BaseModel):
    """The label in force of a picture."""

    image_sha256: str
    revision: int
    decision: str
    boxes: list[dict[str, Any]]
    reviewer: str
    created_at: datetime


class TruthOut(BaseModel):
    """What a part was found to be downstream."""

    cell: str
    created_at: datetime
    actual: Verdict
    said: Verdict | None


class PartOut(BaseModel):
    """Everything known of one part, oldest first."""

    part_id: str
    results: list[ResultOut]
    images: list[ImageOut]
    annotations: list[AnnotationOut]
    truths: list[TruthOut]


class ResultQuery(BaseModel):
    """Filters and page of a list of results; a misspelt one is an error."""

    model_config = ConfigDict(extra="forbid")

    cell: Text = None
    verdict: Verdict | None = None
    category: Text = None
    """A reason of the verdict names this category."""
    reason: ReasonCode | None = None
    hard_reason: HardReason | None = None
    part_id: Text = None
    detected: Text = None
    """A box of this category was found, with a score in the band."""
    score_from: float = Field(default=0.0, ge=0, le=1)
    score_to: float = Field(default=1.0, ge=0, le=1)
    since: Moment | None = None
    until: Moment | None = None
    limit: int = Field(default=50, ge=1, le=MAX_LIMIT)
    cursor: str | None = Field(default=None, max_length=300)


@router.get("/results")
def list_results(
    context: Ctx, _viewer: Viewer, query: Annotated[ResultQuery, Query()]
) -> Page[ResultOut]:
    """Results, newest first.

    A search by score looks through a bounded number of results: its pages may be short, or empty,
    while ``next`` still leads on.
    """
    wanted = ResultFilter(**query.model_dump(exclude=_NO_FILTER))
    before = None
    if query.cursor is not None:
        moment, row_id = decode_cursor(query.cursor, datetime, int)
        before = (moment, row_id)
    with context.database.read() as session:
        if query.detected is not None:
            band = ScoreBand(query.detected, query.score_from, query.score_to)
            found = find_by_score(session, wanted, band, limit=query.limit, before=before)
            images = images_of(session, found.results)
            items = [ResultOut.of(row, images.get(row.result_id)) for row in found.results]
            return Page(items=items, next=encode_cursor(*found.next) if found.next else None)
        results = find_results(session, wanted, limit=query.limit + 1, before=before)
        images = images_of(session, results)
    return page_of(
        results,
        query.limit,
        item=lambda result: ResultOut.of(result, images.get(result.result_id)),
        key=lambda result: (result.created_at, result.id),
    )


_NO_FILTER = {"limit", "cursor", "detected", "score_from", "score_to"}


@router.get("/results/{result_id}")
def get_result(context: Ctx, _viewer: Viewer, result_id: UUID) -> ResultOut:
    """One result with its picture."""
    with context.database.read() as session:
        result = find_result(session, result_id)
        if result is None:
            raise NotFoundError("result", result_id)
        return ResultOut.of(result, images_of(session, [result]).get(result_id))


@router.get("/parts/{part_id}")
def get_part(context: Ctx, _viewer: Viewer, part_id: str) -> PartOut:
    """Trace of a part by its serial number."""
    if "\0" in part_id:
        raise NotFoundError("part", repr(part_id))
    with context.database.read() as session:
        trace = trace_part(session, part_id)
    if not (trace.results or trace.images or trace.truths):
        raise NotFoundError("part", part_id)
    images = {image.result_id: image for image in trace.images}
    return PartOut(
        part_id=part_id,
        results=[ResultOut.of(result, images.get(result.result_id)) for result in trace.results],
        images=[ImageOut.of(image) for image in trace.images],
        annotations=[
            AnnotationOut.model_validate(note, from_attributes=True) for note in trace.annotations
        ],
        truths=[TruthOut.model_validate(truth, from_attributes=True) for truth in trace.truths],
    )

"""The review queue: pictures that are worth a person's look, and what people say about them."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from cloud.api.context import Ctx, Quality, Viewer
from cloud.api.learning import Learning, acting
from cloud.api.paging import MAX_LIMIT, Page, decode_cursor, page_of
from cloud.db.tables import Annotation, ReviewStatus, Role
from cloud.near_duplicates import MAX_OFFERED
from cloud.review_items import (
    MAX_BOXES,
    LabelledBox,
    Opinion,
    ProposedBox,
    QueueKey,
    ReviewItem,
)
from cloud.review_value import value_of
from cloud.second_review import AgreementReport
from models.contract.messages import HardReason, Reason, Verdict

router = APIRouter(prefix="/v1/review", tags=["review"])

Pixels = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]
Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 of the picture")]


class AnnotationBody(BaseModel):
    """A labelled box; COCO order x, y, width, height in pixels of the picture."""

    category: str = Field(max_length=64)
    bbox: tuple[Pixels, Pixels, Pixels, Pixels]

    @classmethod
    def of(cls, box: LabelledBox) -> Self:
        """From a box of the labelling service."""
        return cls(category=box.category, bbox=box.bbox)


class ProposalOut(BaseModel):
    """A box that the model offers."""

    category: str
    bbox: tuple[float, float, float, float]
    score: float

    @classmethod
    def of(cls, box: ProposedBox) -> Self:
        """From a box of the labelling service."""
        return cls(category=box.category, bbox=box.bbox, score=box.score)


class OpinionOut(BaseModel):
    """What one of two reviewers said who disagree."""

    reviewer: str
    decision: ReviewStatus
    annotations: list[AnnotationBody]

    @classmethod
    def of(cls, opinion: Opinion) -> Self:
        """From an opinion of the labelling service."""
        boxes = [AnnotationBody.of(box) for box in opinion.boxes]
        return cls(reviewer=opinion.reviewer, decision=opinion.decision, annotations=boxes)


class ReviewOut(BaseModel):
    """A picture with what the station said and what people said."""

    sha256: str
    image_url: str
    cell: str
    part_id: str
    view: str
    result_id: UUID
    created_at: datetime
    hard_reasons: list[str]
    width_px: int
    height_px: int
    status: ReviewStatus
    revision: int
    """Revision in force; send it back with a change."""
    reviewer: str | None
    reviewed_at: datetime | None
    verdict: Verdict | None
    """None until the station's record has arrived."""
    reasons: list[Reason]
    release: int | None
    annotations: list[AnnotationBody]
    """Boxes of the revision in force."""
    proposals: list[ProposalOut]
    """Boxes of the model to start from."""
    group_id: str
    """The same for all pictures that look alike."""
    num_alike: int
    """Other pictures that look like it and wait for review."""
    opinions: list[OpinionOut]
    """The two that disagree, where it is disputed."""

    @classmethod
    def of(cls, item: ReviewItem) -> Self:
        """From an item of the queue."""
        image, result = item.image, item.result
        return cls(
            sha256=image.sha256,
            image_url=f"/v1/images/{image.sha256}",
            cell=image.cell,
            part_id=image.part_id,
            view=image.view,
            result_id=image.result_id,
            created_at=image.created_at,
            hard_reasons=image.hard_reasons,
            width_px=image.width_px,
            height_px=image.height_px,
            status=image.status,
            revision=image.revision,
            reviewer=image.reviewer,
            reviewed_at=image.reviewed_at,
            verdict=result.verdict if result else None,
            reasons=[Reason.model_validate(reason) for reason in result.reasons] if result else [],
            release=result.release if result else None,
            annotations=[AnnotationBody.of(box) for box in item.annotations],
            proposals=[ProposalOut.of(box) for box in item.proposals],
            group_id=item.group_id,
            num_alike=item.num_alike,
            opinions=[OpinionOut.of(opinion) for opinion in item.opinions],
        )


class ReviewBody(BaseModel):
    """What a reviewer says about a picture."""

    decision: Literal["labelled", "rejected"]
    """``labelled`` without boxes says that nothing is in it; ``rejected``: of no use."""
    annotations: list[AnnotationBody] = Field(default_factory=list, max_length=MAX_BOXES)
    reviewer: str | None = Field(default=None, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")
    """Only where nobody signs in; else it is who signed in."""
    revision: int | None = Field(default=None, ge=0, le=2**31)
    """The revision that was looked at; refused when somebody saved another meanwhile."""


class AlikeBody(BaseModel):
    """Pictures that get the same label."""

    pictures: list[Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = Field(
        min_length=1, max_length=MAX_OFFERED
    )
    reviewer: str | None = Field(default=None, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")
    """Only where nobody signs in; else it is who signed in."""


class AlikeOut(BaseModel):
    """What became of them."""

    saved: list[ReviewOut]
    refused: dict[str, str]
    """Why a picture was left out, by its SHA-256."""


class FiguresOut(BaseModel):
    """How far reviewers agree."""

    model_config = ConfigDict(from_attributes=True)

    num_pictures: int
    """Looked at twice."""
    num_agreed: int
    kappa: float | None
    """Cohen's, over every box that at least one of the two marked."""
    mean_iou: float | None


class ReviewersOut(FiguresOut):
    """How far two people agree."""

    reviewers: tuple[str, str]


class CategoryAgreementOut(BaseModel):
    """How often both marked a category, of the times that at least one did."""

    model_config = ConfigDict(from_attributes=True)

    category: str
    num_either: int
    num_both: int


class AgreementOut(BaseModel):
    """Agreement of reviewers, where two have looked."""

    overall: FiguresOut
    by_reviewers: list[ReviewersOut]
    by_category: list[CategoryAgreementOut]

    @classmethod
    def of(cls, report: AgreementReport) -> Self:
        """From the report of the labelling service."""
        return cls(
            overall=FiguresOut.model_validate(report.overall),
            by_reviewers=[
                ReviewersOut(reviewers=names, **FiguresOut.model_validate(figures).model_dump())
                for names, figures in report.by_reviewers.items()
            ],
            by_category=[CategoryAgreementOut.model_validate(row) for row in report.by_category],
        )


class RevisionOut(BaseModel):
    """One revision of a label."""

    revision: int
    decision: ReviewStatus
    boxes: list[AnnotationBody]
    reviewer: str
    created_at: datetime

    @classmethod
    def of(cls, row: Annotation) -> Self:
        """From its row."""
        return cls.model_validate(row, from_attributes=True)


class ReviewQuery(BaseModel):
    """Filters and page of the queue; a misspelt one is an error."""

    model_config = ConfigDict(extra="forbid")

    status: ReviewStatus = ReviewStatus.PENDING
    reason: HardReason | None = None
    cell: str | None = Field(default=None, min_length=1, max_length=131, pattern=r"^[^\x00]+$")
    limit: int = Field(default=50, ge=1, le=MAX_LIMIT)
    cursor: str | None = Field(default=None, max_length=300)


@router.get("")
def list_review(
    learning: Learning, _viewer: Viewer, query: Annotated[ReviewQuery, Query()]
) -> Page[ReviewOut]:
    """Pictures by what a look at them is worth, then oldest first."""
    after = QueueKey(*decode_cursor(query.cursor, int, datetime, str)) if query.cursor else None
    items = learning.labeling.queue(
        limit=query.limit + 1,
        status=query.status,
        reason=query.reason,
        cell=query.cell,
        after=after,
    )
    return page_of(items, query.limit, item=ReviewOut.of, key=_key)


@router.get("/counts")
def count_review(learning: Learning, _viewer: Viewer) -> dict[str, int]:
    """How many pictures there are by review status; counting ends at 10,000 of each."""
    return learning.labeling.counts()


@router.get("/agreement")
def get_agreement(learning: Learning, _viewer: Viewer) -> AgreementOut:
    """How far reviewers agree, where two have looked."""
    return AgreementOut.of(learning.labeling.agreement())


@router.get("/{sha256}")
def get_review(learning: Learning, _viewer: Viewer, sha256: Sha256) -> ReviewOut:
    """One picture."""
    return ReviewOut.of(learning.labeling.item(sha256))


@router.get("/{sha256}/revisions")
def list_revisions(learning: Learning, _viewer: Viewer, sha256: Sha256) -> list[RevisionOut]:
    """Everything that was ever said about a picture, newest first."""
    return [RevisionOut.of(row) for row in learning.labeling.history(sha256)]


@router.put("/{sha256}")
def put_review(
    context: Ctx, learning: Learning, identity: Quality, sha256: Sha256, body: ReviewBody
) -> ReviewOut:
    """Label a picture, or say that it is of no use; each change is a new revision."""
    item = learning.labeling.save(
        sha256,
        decision=ReviewStatus(body.decision),
        boxes=[LabelledBox(box.category, box.bbox) for box in body.annotations],
        reviewer=acting(context, identity, body.reviewer),
        revision=body.revision,
        may_arbitrate=identity.may(Role.ML),
    )
    return ReviewOut.of(item)


@router.get("/{sha256}/alike")
def list_alike(learning: Learning, _viewer: Viewer, sha256: Sha256) -> list[ReviewOut]:
    """Pictures that look like this one and wait for review."""
    return [ReviewOut.of(item) for item in learning.labeling.alike(sha256)]


@router.post("/{sha256}/alike")
def label_alike(
    context: Ctx, learning: Learning, identity: Quality, sha256: Sha256, body: AlikeBody
) -> AlikeOut:
    """Say the same about pictures that look like this one; each gets a label of its own."""
    saved, refused = learning.labeling.label_alike(
        sha256, body.pictures, reviewer=acting(context, identity, body.reviewer)
    )
    return AlikeOut(saved=[ReviewOut.of(item) for item in saved], refused=refused)


@router.post("/{sha256}/undo")
def undo_review(learning: Learning, identity: Quality, sha256: Sha256) -> ReviewOut:
    """Bring back what was said before the newest revision."""
    return ReviewOut.of(learning.labeling.undo(sha256, reviewer=identity.name))


def _key(item: ReviewItem) -> tuple[str | int | datetime, ...]:
    image = item.image
    return value_of(image.hard_reasons), image.created_at, image.sha256

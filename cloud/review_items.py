"""A picture as reviewers see it: its row, what the station said, and everybody's boxes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from cloud.db.review_tables import Agreement
from cloud.db.tables import Annotation, Image, Result, ReviewStatus
from cloud.errors import InvalidError
from cloud.near_duplicates import groups_of, pending_in

PRELABEL_SCORE = 0.3
"""Detections from this score on are offered as boxes: less often a wrong box to delete than a
right one to draw."""
MAX_BOXES = 500
MIN_SIDE_PX = 1.0
BOX_DECIMALS = 2
"""A hundredth of a pixel: what a snapshot's identity counts."""


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """A box that a person stands for; COCO order, in pixels."""

    category: str
    bbox: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class ProposedBox:
    """A box that the model offers."""

    category: str
    bbox: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one reviewer said about a picture that is disputed."""

    reviewer: str
    decision: ReviewStatus
    boxes: tuple[LabelledBox, ...]


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A picture in the queue with all that a reviewer needs.

    Attributes:
        image: The picture's row: status, revision in force, cell, part, reasons.
        result: What the station said, once its record has arrived.
        annotations: Boxes of the revision in force; empty for a picture nobody has seen.
        proposals: Boxes of the model to start from.
        group_id: The same for all pictures that look alike.
        num_alike: Other pictures of the group that wait for review.
        opinions: Of the first and the second reviewer, where they disagree.
    """

    image: Image
    result: Result | None
    annotations: tuple[LabelledBox, ...]
    proposals: tuple[ProposedBox, ...]
    group_id: str = ""
    num_alike: int = 0
    opinions: tuple[Opinion, ...] = ()


@dataclass(frozen=True, slots=True)
class QueueKey:
    """Where a page of the queue ended."""

    value: int
    created_at: datetime
    sha256: str


def clean_boxes(
    boxes: Iterable[LabelledBox], *, width_px: int, height_px: int, categories: Iterable[str]
) -> tuple[LabelledBox, ...]:
    """Check a reviewer's boxes and cut them to the picture.

    Raises:
        InvalidError: a category is not known, a box lies outside, or there are too many.
    """
    known = frozenset(categories)
    boxes = tuple(boxes)
    if len(boxes) > MAX_BOXES:
        raise InvalidError(f"{len(boxes)} boxes are more than the {MAX_BOXES} of one picture")
    cleaned = []
    for box in boxes:
        if box.category not in known:
            raise InvalidError(
                f"unknown category {box.category!r}: add it first (POST /v1/categories)"
            )
        cleaned.append(LabelledBox(box.category, _cut(box.bbox, width_px, height_px)))
    return tuple(cleaned)


def _cut(
    bbox: tuple[float, float, float, float], width_px: int, height_px: int
) -> tuple[float, float, float, float]:
    x, y, width, height = bbox
    left, top = max(0.0, x), max(0.0, y)
    right, bottom = min(float(width_px), x + width), min(float(height_px), y + height)
    is_inside = right - left >= MIN_SIDE_PX and bottom - top >= MIN_SIDE_PX
    if not is_inside or not all(map(math.isfinite, bbox)):
        raise InvalidError(f"box {[round(side, 1) for side in bbox]} is not inside the picture")
    sides = (left, top, right - left, bottom - top)
    x, y, width, height = (round(side, BOX_DECIMALS) for side in sides)
    return x, y, width, height


def read_items(session: Session, images: Sequence[Image]) -> list[ReviewItem]:
    """Gather what belongs to these pictures, in their order; a handful of queries in all."""
    results = {
        result.result_id: result
        for result in session.scalars(
            select(Result).where(Result.result_id.in_([image.result_id for image in images]))
        )
    }
    looks = _looks(session, images)
    agreements = _disagreements(session, images)
    groups = groups_of(session, [image.sha256 for image in images])
    waiting = pending_in(session, groups.values())
    items = []
    for image in images:
        result, group = results.get(image.result_id), groups[image.sha256]
        in_force = looks.get((image.sha256, image.revision))
        is_one_of_them = image.status is ReviewStatus.PENDING
        compared = agreements.get(image.sha256)
        revisions = (compared.first_revision, compared.second_revision) if compared else ()
        items.append(
            ReviewItem(
                image,
                result,
                labelled_boxes(in_force.boxes) if in_force else (),
                _proposals(result),
                group,
                max(0, waiting.get(group, 0) - is_one_of_them),
                tuple(
                    _opinion(looks[image.sha256, revision])
                    for revision in revisions
                    if (image.sha256, revision) in looks
                ),
            )
        )
    return items


def labelled_boxes(boxes: Iterable[Mapping[str, Any]]) -> tuple[LabelledBox, ...]:
    """Boxes as an annotation keeps them."""
    return tuple(LabelledBox(box["category"], tuple(box["bbox"])) for box in boxes)


def _looks(session: Session, images: Sequence[Image]) -> dict[tuple[str, int], Annotation]:
    """Annotations in force, and every one of a disputed picture."""
    pairs = [(image.sha256, image.revision) for image in images if image.revision]
    disputed = [image.sha256 for image in images if image.status is ReviewStatus.DISPUTED]
    wanted = tuple_(Annotation.image_sha256, Annotation.revision).in_(pairs)
    query = select(Annotation).where(wanted | Annotation.image_sha256.in_(disputed))
    return {(row.image_sha256, row.revision): row for row in session.scalars(query)}


def _disagreements(session: Session, images: Sequence[Image]) -> dict[str, Agreement]:
    disputed = [image.sha256 for image in images if image.status is ReviewStatus.DISPUTED]
    if not disputed:
        return {}
    query = select(Agreement).where(Agreement.image_sha256.in_(disputed)).order_by(Agreement.id)
    return {row.image_sha256: row for row in session.scalars(query)}


def _opinion(row: Annotation) -> Opinion:
    return Opinion(row.reviewer, row.decision, labelled_boxes(row.boxes))


def _proposals(result: Result | None) -> tuple[ProposedBox, ...]:
    if result is None:
        return ()
    return tuple(
        ProposedBox(found["category"], tuple(found["bbox"]), found["score"])
        for found in result.detections
        if found["score"] >= PRELABEL_SCORE
    )

"""The review queue and what people say about pictures.

Annotations are only ever added: each change is a new revision, the newest is in force, and a
reviewer who worked on an older one is told so. A picture's row carries the revision in force.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, or_, select, tuple_
from sqlalchemy.orm import Session

from cloud import audit
from cloud.db.session import Database
from cloud.db.tables import Annotation, CategoryRow, Image, Result, ReviewStatus
from cloud.errors import ConflictError, InvalidError, NotFoundError
from cloud.label_map import add_categories, read_categories
from cloud.review_value import has_reason, value_column
from models.contract.bundle import Category, CategoryKind

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
class ReviewItem:
    """A picture in the queue with all that a reviewer needs.

    Attributes:
        image: The picture's row: status, revision in force, cell, part, reasons.
        result: What the station said, once its record has arrived.
        annotations: Boxes of the revision in force; empty for a picture nobody has seen.
        proposals: Boxes of the model to start from.
    """

    image: Image
    result: Result | None
    annotations: tuple[LabelledBox, ...]
    proposals: tuple[ProposedBox, ...]


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


class Labeling:
    """Review queue, annotations and categories in the database."""

    def __init__(
        self, database: Database, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = database
        self._now = now

    # --- the queue ---------------------------------------------------------------------------

    def queue(
        self,
        *,
        limit: int,
        status: ReviewStatus | None = ReviewStatus.PENDING,
        reason: str | None = None,
        cell: str | None = None,
        after: QueueKey | None = None,
    ) -> list[ReviewItem]:
        """Pictures by what a look at them is worth, then oldest first."""
        value = value_column()
        query = select(Image).order_by(value, Image.created_at, Image.sha256).limit(limit)
        if status is not None:
            query = query.where(Image.status == status)
        if reason is not None:
            query = query.where(has_reason(reason))
        if cell is not None:
            query = query.where(Image.cell == cell)
        if after is not None:
            query = query.where(
                or_(
                    value > after.value,
                    (value == after.value)
                    & (tuple_(Image.created_at, Image.sha256) > (after.created_at, after.sha256)),
                )
            )
        with self._database.read() as session:
            return _items(session, session.scalars(query).all())

    def item(self, sha256: str) -> ReviewItem:
        """One picture.

        Raises:
            NotFoundError: it is not known.
        """
        with self._database.read() as session:
            return _items(session, [_image(session, sha256)])[0]

    def counts(self) -> dict[str, int]:
        """How many pictures there are by review status."""
        query = select(Image.status, func.count()).group_by(Image.status)
        with self._database.read() as session:
            found = {str(status): count for status, count in session.execute(query)}
        return {str(status): found.get(str(status), 0) for status in ReviewStatus}

    def history(self, sha256: str) -> Sequence[Annotation]:
        """Every revision of a picture's label, newest first."""
        query = (
            select(Annotation)
            .where(Annotation.image_sha256 == sha256)
            .order_by(Annotation.revision.desc())
        )
        with self._database.read() as session:
            return session.scalars(query).all()

    # --- saving ------------------------------------------------------------------------------

    def save(
        self,
        sha256: str,
        *,
        decision: ReviewStatus,
        boxes: Iterable[LabelledBox],
        reviewer: str,
        revision: int | None = None,
    ) -> ReviewItem:
        """Say what is in a picture, or that it is of no use.

        Args:
            sha256: The picture.
            decision: ``labelled`` (no boxes means: nothing is in it) or ``rejected``.
            boxes: What is in it; ignored when it is rejected.
            reviewer: Who says so.
            revision: The revision that the reviewer saw; None takes whatever is there.

        Raises:
            NotFoundError: the picture is not known.
            ConflictError: somebody else saved since ``revision``.
            InvalidError: a box or a category is wrong.
        """
        if decision is ReviewStatus.PENDING:
            raise InvalidError("decision is labelled or rejected")
        with self._database.write() as session:
            image = _image(session, sha256, lock=True)
            if revision is not None and revision != image.revision:
                raise ConflictError(
                    f"{image.reviewer or 'somebody'} saved revision {image.revision} meanwhile:"
                    " load the picture again"
                )
            names = session.scalars(select(CategoryRow.name)).all()
            cleaned = clean_boxes(
                boxes if decision is ReviewStatus.LABELLED else (),
                width_px=image.width_px,
                height_px=image.height_px,
                categories=names,
            )
            self._append(session, image, decision, cleaned, reviewer)
            audit.record(
                session,
                reviewer,
                "label image" if decision is ReviewStatus.LABELLED else "reject image",
                sha256,
                revision=image.revision,
                num_boxes=len(cleaned),
            )
            return _items(session, [image])[0]

    def undo(self, sha256: str, *, reviewer: str) -> ReviewItem:
        """Bring back what was said before the newest revision, as a revision of its own.

        Raises:
            NotFoundError: the picture is not known.
            ConflictError: nobody has said anything yet.
        """
        with self._database.write() as session:
            image = _image(session, sha256, lock=True)
            if image.revision == 0:
                raise ConflictError("there is nothing to undo: the picture has no label")
            before = session.get(Annotation, (sha256, image.revision - 1))
            decision = before.decision if before else ReviewStatus.PENDING
            boxes = _labelled_boxes(before.boxes) if before else ()
            self._append(session, image, decision, boxes, reviewer)
            audit.record(session, reviewer, "undo label", sha256, revision=image.revision)
            return _items(session, [image])[0]

    def _append(
        self,
        session: Session,
        image: Image,
        decision: ReviewStatus,
        boxes: tuple[LabelledBox, ...],
        reviewer: str,
    ) -> None:
        now = self._now()
        image.revision += 1
        image.status = decision
        image.reviewer = reviewer
        image.reviewed_at = now
        image.snapshot_id = None
        session.add(
            Annotation(
                image_sha256=image.sha256,
                revision=image.revision,
                decision=decision,
                boxes=[{"category": box.category, "bbox": list(box.bbox)} for box in boxes],
                reviewer=reviewer,
                created_at=now,
            )
        )

    # --- categories --------------------------------------------------------------------------

    def categories(self) -> list[Category]:
        """What may be drawn, in the order of the label map."""
        with self._database.read() as session:
            return read_categories(session)

    def add_category(self, name: str, kind: CategoryKind, *, actor: str) -> Category:
        """Add a category; adding it again with the same kind changes nothing.

        Raises:
            ConflictError: it exists with the other kind.
        """
        category = Category(name=name, kind=kind)
        with self._database.write() as session:
            known = {row.name: row.kind for row in session.scalars(select(CategoryRow))}
            if known.get(name, kind) is not kind:
                raise ConflictError(f"category {name} exists and is a kind of {known[name]}")
            if add_categories(session, [category], actor=actor, now=self._now()):
                audit.record(session, actor, "add category", name, kind=str(kind))
        return category


def _image(session: Session, sha256: str, *, lock: bool = False) -> Image:
    image = session.get(Image, sha256, with_for_update=lock)
    if image is None:
        raise NotFoundError("picture", sha256)
    return image


def _items(session: Session, images: Sequence[Image]) -> list[ReviewItem]:
    results = {
        result.result_id: result
        for result in session.scalars(
            select(Result).where(Result.result_id.in_([image.result_id for image in images]))
        )
    }
    pairs = [(image.sha256, image.revision) for image in images if image.revision]
    labels = {
        row.image_sha256: row.boxes
        for row in session.scalars(
            select(Annotation).where(
                tuple_(Annotation.image_sha256, Annotation.revision).in_(pairs)
            )
        )
    }
    return [
        ReviewItem(
            image,
            results.get(image.result_id),
            _labelled_boxes(labels.get(image.sha256, ())),
            _proposals(results.get(image.result_id)),
        )
        for image in images
    ]


def _labelled_boxes(boxes: Iterable[Mapping[str, Any]]) -> tuple[LabelledBox, ...]:
    return tuple(LabelledBox(box["category"], tuple(box["bbox"])) for box in boxes)


def _proposals(result: Result | None) -> tuple[ProposedBox, ...]:
    if result is None:
        return ()
    return tuple(
        ProposedBox(found["category"], tuple(found["bbox"]), found["score"])
        for found in result.detections
        if found["score"] >= PRELABEL_SCORE
    )

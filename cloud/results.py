"""Looking results up: by filters, by identity, by part."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Select, String, and_, cast, exists, select, tuple_
from sqlalchemy.orm import Session

from cloud.db.tables import Annotation, Finding, Image, Result, Truth
from models.contract.messages import HardReason, ReasonCode, Verdict


@dataclass(frozen=True, slots=True)
class ResultFilter:
    """Which results are wanted; what is None does not restrict."""

    cell: str | None = None
    verdict: Verdict | None = None
    category: str | None = None
    """A reason of the verdict names this category."""
    reason: ReasonCode | None = None
    hard_reason: HardReason | None = None
    part_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class PartTrace:
    """Everything known of one part, oldest first."""

    results: Sequence[Result]
    images: Sequence[Image]
    annotations: Sequence[Annotation]
    """The one in force of each picture."""
    truths: Sequence[Truth]


def find_results(
    session: Session,
    wanted: ResultFilter,
    *,
    limit: int,
    before: tuple[datetime, int] | None = None,
) -> Sequence[Result]:
    """Newest results first.

    Args:
        session: A read transaction.
        wanted: Which ones.
        limit: How many at most.
        before: Time and id of the last result of the page before.
    """
    query = filtered(wanted).order_by(Result.created_at.desc(), Result.id.desc()).limit(limit)
    if before is not None:
        query = query.where(tuple_(Result.created_at, Result.id) < before)
    return session.scalars(query).all()


def filtered(wanted: ResultFilter) -> Select[Result]:
    """The query of a filter, in no order."""
    query = select(Result)
    for column, value in (
        (Result.cell, wanted.cell),
        (Result.verdict, wanted.verdict),
        (Result.part_id, wanted.part_id),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.since is not None:
        query = query.where(Result.created_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(Result.created_at < wanted.until)
    if wanted.hard_reason is not None:
        query = query.where(cast(Result.hard_reasons, String).contains(f'"{wanted.hard_reason}"'))
    if wanted.category is not None or wanted.reason is not None:
        query = query.where(_has_finding(wanted.category, wanted.reason))
    return query


def _has_finding(category: str | None, code: ReasonCode | None) -> ColumnElement[bool]:
    conditions = [
        Finding.cell == Result.cell,
        Finding.boot_id == Result.boot_id,
        Finding.seq == Result.seq,
    ]
    if category is not None:
        conditions.append(Finding.category == category)
    if code is not None:
        conditions.append(Finding.code == code)
    return exists().where(and_(*conditions))


def find_result(session: Session, result_id: UUID) -> Result | None:
    """One result by its identity."""
    query = select(Result).where(Result.result_id == result_id).order_by(Result.id).limit(1)
    return session.scalars(query).first()


def images_of(session: Session, results: Iterable[Result]) -> dict[UUID, Image]:
    """The pictures that have arrived for these results, by result_id."""
    identities = [result.result_id for result in results]
    if not identities:
        return {}
    images = session.scalars(select(Image).where(Image.result_id.in_(identities)))
    return {image.result_id: image for image in images}


def trace_part(session: Session, part_id: str, *, limit: int = 200) -> PartTrace:
    """Every view, picture, label and later finding of a part."""
    results = session.scalars(
        select(Result)
        .where(Result.part_id == part_id)
        .order_by(Result.created_at, Result.id)
        .limit(limit)
    ).all()
    images = session.scalars(
        select(Image).where(Image.part_id == part_id).order_by(Image.created_at).limit(limit)
    ).all()
    annotations = session.scalars(
        select(Annotation)
        .join(Image, Image.sha256 == Annotation.image_sha256)
        .where(Image.part_id == part_id, Annotation.revision == Image.revision)
        .order_by(Annotation.created_at)
    ).all()
    truths = session.scalars(
        select(Truth).where(Truth.part_id == part_id).order_by(Truth.created_at).limit(limit)
    ).all()
    return PartTrace(results, images, annotations, truths)

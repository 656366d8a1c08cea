"""Looking results up: by filters, by identity, by part."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    exists,
    literal_column,
    select,
    text,
    tuple_,
)
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from cloud.db.count_tables import HardMark
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
    recipe_id: str | None = None


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
    _keep_order(session)
    return session.scalars(newest_first(wanted, before=before).limit(limit)).all()


def _keep_order(session: Session) -> None:
    """Let PostgreSQL go along the index that has a list's order, for the rest of a transaction.

    It takes the three columns that join a finding to its result for independent of one another,
    expects one row instead of thousands, and would read and sort them all for the first fifty:
    583 ms instead of 3 among ten million results.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SET LOCAL enable_sort = off"))
        session.execute(text("SET LOCAL max_parallel_workers_per_gather = 0"))


def newest_first(
    wanted: ResultFilter, *, before: tuple[datetime, int] | None = None
) -> Select[Result]:
    """The query of a filter, in order.

    Each filter has an index in the order of the list, so that a page costs the same however many
    results there are and however rare what is looked for is.
    """
    if wanted.category is not None or wanted.reason is not None:
        query, moment = _with_finding(wanted)
    elif wanted.hard_reason is not None:
        query, moment = _with_mark(wanted, wanted.hard_reason), HardMark.created_at
    else:
        query, moment = select(Result), Result.created_at
    query = query.where(*_conditions(wanted, moment))
    if before is not None:
        # The first condition is for the index, the second for results of the same moment.
        query = query.where(moment <= before[0], tuple_(moment, Result.id) < before)
    return query.order_by(moment.desc(), Result.id.desc())


def _conditions(
    wanted: ResultFilter, moment: InstrumentedAttribute[datetime]
) -> Iterator[ColumnElement[bool]]:
    if wanted.cell is not None:
        yield Result.cell == wanted.cell
    if wanted.verdict is not None:
        yield Result.verdict == wanted.verdict
        if wanted.verdict is not Verdict.OK:
            # Written out: a partial index is used where its condition stands in the query.
            yield literal_column("results.verdict") != literal_column("'ok'")
    if wanted.part_id is not None:
        yield Result.part_id == wanted.part_id
    if wanted.recipe_id is not None:
        yield Result.recipe_id == wanted.recipe_id
    if wanted.since is not None:
        yield moment >= wanted.since
    if wanted.until is not None:
        yield moment < wanted.until


def _with_finding(
    wanted: ResultFilter,
) -> tuple[Select[Result], InstrumentedAttribute[datetime]]:
    """Results through their findings, of each result the first that fits."""
    other = aliased(Finding)
    query = select(Result).join(Finding, _same_result(Finding))
    earlier = exists().where(
        other.cell == Finding.cell,
        other.boot_id == Finding.boot_id,
        other.seq == Finding.seq,
        other.position < Finding.position,
    )
    for column, twin, value in (
        (Finding.category, other.category, wanted.category),
        (Finding.code, other.code, wanted.reason),
    ):
        if value is not None:
            query, earlier = query.where(column == value), earlier.where(twin == value)
    if wanted.cell is not None:
        query = query.where(Finding.cell == wanted.cell)
    if wanted.hard_reason is not None:
        mark = aliased(HardMark)
        query = query.where(
            exists().where(
                mark.cell == Finding.cell,
                mark.boot_id == Finding.boot_id,
                mark.seq == Finding.seq,
                mark.reason == str(wanted.hard_reason),
            )
        )
    return query.where(~earlier), Finding.created_at


def _with_mark(wanted: ResultFilter, reason: HardReason) -> Select[Result]:
    query = select(Result).join(HardMark, _same_result(HardMark))
    query = query.where(HardMark.reason == str(reason))
    return query.where(HardMark.cell == wanted.cell) if wanted.cell is not None else query


def _same_result(table: type[Finding | HardMark]) -> ColumnElement[bool]:
    return and_(table.cell == Result.cell, table.boot_id == Result.boot_id, table.seq == Result.seq)


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

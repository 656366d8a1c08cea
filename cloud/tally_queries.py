"""Sums over tallies and, in the ragged ends of a window, over the rows themselves."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain

from sqlalchemy import ColumnElement, Select, func, literal, select, union_all
from sqlalchemy.orm import Session

from cloud.db.count_tables import Tally
from cloud.db.tables import Finding, Image, Result, Truth
from cloud.statistics import Window
from cloud.tallies import (
    SPANS_S,
    Edge,
    Segment,
    TallyKey,
    TallyKind,
    cover,
    of_picture,
)
from cloud.tally_store import review_facts

Sums = Counter[tuple[str, str, str]]
"""How often, by kind, name and detail."""
_OF_RESULTS = frozenset({TallyKind.VERDICT, TallyKind.PART, TallyKind.FIRST})
_OF_PICTURES = frozenset({TallyKind.HARD, TallyKind.REVIEW, TallyKind.LOOK, TallyKind.BYTES})
_WITH_RECIPE = _OF_RESULTS | {TallyKind.CAUSE}


def sum_tallies(session: Session, window: Window, kinds: Sequence[TallyKind]) -> Sums:
    """How often each thing of these kinds happened in a window."""
    sums: Sums = Counter()
    for _, kind, name, detail, n in _tallied(session, window, kinds, by_cell=False):
        sums[kind, name, detail] += n
    return sums


def sum_tallies_by_cell(
    session: Session, window: Window, kinds: Sequence[TallyKind]
) -> dict[str, Sums]:
    """The same for each cell that there is anything of."""
    sums: dict[str, Sums] = defaultdict(Counter)
    for cell, kind, name, detail, n in _tallied(session, window, kinds, by_cell=True):
        sums[cell][kind, name, detail] += n
    return dict(sums)


def _tallied(
    session: Session, window: Window, kinds: Sequence[TallyKind], *, by_cell: bool
) -> Iterator[tuple[str, str, str, str, int]]:
    """Cell, kind, name, detail, and how often; the cell is only right where it is asked for."""
    segments, edges = cover(window.since, window.until)
    groups = [
        ([kind for kind in kinds if kind in _WITH_RECIPE], window.recipe_id),
        ([kind for kind in kinds if kind not in _WITH_RECIPE], None),
    ]
    for wanted, recipe_id in groups:
        if not wanted or not segments:
            continue
        parts = [_segment(segment, window.cell, wanted, recipe_id) for segment in segments]
        tallied = union_all(*parts).subquery()
        cell = tallied.c.cell if by_cell else literal("").label("cell")
        columns = cell, tallied.c.kind, tallied.c.name, tallied.c.detail
        grouped = columns if by_cell else columns[1:]
        for row in session.execute(select(*columns, func.sum(tallied.c.n)).group_by(*grouped)):
            yield (*row[:4], int(row[4]))
    for key, n in _in_edges(session, window, edges, kinds):
        yield key.cell, key.kind, key.name, key.detail, n


def sum_by_cell(session: Session, window: Window, kind: TallyKind) -> Counter[tuple[str, str]]:
    """How often each thing of a kind happened, by cell and name."""
    segments, edges = cover(window.since, window.until)
    sums: Counter[tuple[str, str]] = Counter()
    if segments:
        recipe_id = window.recipe_id if kind in _WITH_RECIPE else None
        parts = [_segment(segment, window.cell, [kind], recipe_id) for segment in segments]
        tallied = union_all(*parts).subquery()
        columns = tallied.c.cell, tallied.c.name
        for cell, name, n in session.execute(
            select(*columns, func.sum(tallied.c.n)).group_by(*columns)
        ):
            sums[cell, name] += int(n)
    for key, n in _in_edges(session, window, edges, [kind]):
        sums[key.cell, key.name] += n
    return sums


def sum_by_bucket(
    session: Session, window: Window, kind: TallyKind, bucket_s: int
) -> dict[datetime, dict[str, int]]:
    """How often each thing of a kind happened, by beginning of the bucket and name.

    Args:
        session: A read transaction.
        window: Has a beginning, which keeps what is read in bounds.
        kind: Of results or findings.
        bucket_s: Buckets that are no multiple of the shortest tally are counted from the rows.
    """
    spans_s = tuple(span_s for span_s in SPANS_S if bucket_s % span_s == 0)
    buckets: dict[datetime, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    if spans_s:
        segments, edges = cover(window.since, window.until, spans_s=spans_s)
    else:
        until = window.until or datetime(9000, 1, 1, tzinfo=UTC)
        segments, edges = [], [Edge(window.since or until, until)]
    if segments:
        recipe_id = window.recipe_id if kind in _WITH_RECIPE else None
        parts = [_segment(segment, window.cell, [kind], recipe_id) for segment in segments]
        tallied = union_all(*parts).subquery()
        start = (tallied.c.start_s - tallied.c.start_s % bucket_s).label("start")
        columns = start, tallied.c.name
        for start_s, name, n in session.execute(
            select(*columns, func.sum(tallied.c.n)).group_by(*columns)
        ):
            buckets[datetime.fromtimestamp(int(start_s), UTC)][name] += int(n)
    for edge in edges:
        for moment, name in _moments(session, window, edge, kind):
            seconds = int(moment.timestamp())
            buckets[datetime.fromtimestamp(seconds - seconds % bucket_s, UTC)][name] += 1
    return buckets


def newest_moment(session: Session, window: Window) -> datetime | None:
    """When the newest result of a window was made; None where there is none."""
    query = (
        select(Result.created_at)
        .where(*conditions(window, Result))
        .order_by(Result.created_at.desc())
        .limit(1)
    )
    return session.scalar(query)


def conditions(
    window: Window, table: type[Result | Finding | Image | Truth]
) -> list[ColumnElement[bool]]:
    """What narrows a query to a window."""
    found: list[ColumnElement[bool]] = []
    if window.cell is not None:
        found.append(table.cell == window.cell)
    if window.since is not None:
        found.append(table.created_at >= window.since)
    if window.until is not None:
        found.append(table.created_at < window.until)
    if window.recipe_id is not None and table is Result:
        found.append(Result.recipe_id == window.recipe_id)
    return found


def _segment(
    segment: Segment, cell: str | None, kinds: Sequence[TallyKind], recipe_id: str | None
) -> Select[str, str, str, str, int, int]:
    query = select(Tally.kind, Tally.name, Tally.detail, Tally.cell, Tally.start_s, Tally.n).where(
        Tally.span_s == segment.span_s, Tally.kind.in_([str(kind) for kind in kinds])
    )
    if cell is not None:
        query = query.where(Tally.cell == cell)
    if recipe_id is not None:
        query = query.where(Tally.recipe_id == recipe_id)
    if segment.start_s is not None:
        query = query.where(Tally.start_s >= segment.start_s)
    if segment.end_s is not None:
        query = query.where(Tally.start_s < segment.end_s)
    return query


def _in_edges(
    session: Session, window: Window, edges: Iterable[Edge], kinds: Sequence[TallyKind]
) -> Iterator[tuple[TallyKey, int]]:
    for edge in edges:
        part = Window(window.cell, edge.since, edge.until, window.recipe_id)
        readers = []
        if not _OF_RESULTS.isdisjoint(kinds):
            readers.append(_results(session, part))
        if TallyKind.CAUSE in kinds:
            readers.append(_causes(session, part))
        if TallyKind.TRUTH in kinds:
            readers.append(_truths(session, part))
        if not _OF_PICTURES.isdisjoint(kinds):
            readers.append(_pictures(session, part))
        yield from (found for found in chain(*readers) if found[0].kind in kinds)


def _results(session: Session, window: Window) -> Iterator[tuple[TallyKey, int]]:
    columns = Result.cell, Result.verdict, Result.is_partial, Result.is_first
    query = select(*columns, func.count()).where(*conditions(window, Result)).group_by(*columns)
    for cell, verdict, is_partial, is_first, n in session.execute(query):
        key = TallyKey("verdict", cell, 0, "", verdict.value)
        yield key, n
        if not is_partial:
            yield key._replace(kind="part"), n
        if is_first:
            yield key._replace(kind="first"), n


def _causes(session: Session, window: Window) -> Iterator[tuple[TallyKey, int]]:
    columns = Finding.cell, Finding.code, Finding.category
    query = select(*columns, func.count()).where(*conditions(window, Finding)).group_by(*columns)
    if window.recipe_id is not None:
        of_result = (
            (Result.cell == Finding.cell)
            & (Result.boot_id == Finding.boot_id)
            & (Result.seq == Finding.seq)
        )
        query = query.join(Result, of_result).where(Result.recipe_id == window.recipe_id)
    for cell, code, category, n in session.execute(query):
        yield TallyKey("cause", cell, 0, "", code.value, category or ""), n


def _truths(session: Session, window: Window) -> Iterator[tuple[TallyKey, int]]:
    columns = Truth.cell, Truth.actual, Truth.said
    query = select(*columns, func.count()).where(*conditions(window, Truth)).group_by(*columns)
    for cell, actual, said, n in session.execute(query):
        yield TallyKey("truth", cell, 0, "", actual.value, said.value if said else ""), n


def _pictures(session: Session, window: Window) -> Iterator[tuple[TallyKey, int]]:
    for image in session.scalars(select(Image).where(*conditions(window, Image))):
        yield from of_picture(review_facts(session, image)).items()


def _moments(
    session: Session, window: Window, edge: Edge, kind: TallyKind
) -> Iterator[tuple[datetime, str]]:
    part = Window(window.cell, edge.since, edge.until, window.recipe_id)
    query = select(Result.created_at, Result.verdict).where(*conditions(part, Result))
    if kind is TallyKind.FIRST:
        query = query.where(Result.is_first)
    elif kind is TallyKind.PART:
        query = query.where(Result.is_partial.is_(False))
    else:
        raise ValueError(f"{kind} is not counted over time")
    for moment, verdict in session.execute(query):
        yield moment, verdict.value

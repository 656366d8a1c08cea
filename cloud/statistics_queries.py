"""The figures of `cloud.statistics`, counted in the database."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import BigInteger, ColumnElement, Select, case, cast, extract, func, select
from sqlalchemy.orm import Session

from cloud.db.tables import (
    Annotation,
    CategoryRow,
    Finding,
    Image,
    Result,
    ReviewStatus,
    StationLogEntry,
    Truth,
)
from cloud.statistics import (
    Latency,
    ParetoBar,
    Rate,
    RecordCount,
    Summary,
    Window,
    YieldPoint,
    pareto_bars,
    percentile,
    wilson_rate,
)
from models.contract.bundle import CategoryKind
from models.contract.messages import HardReason, Verdict

MAX_BUCKETS = 1_000
LATENCY_SAMPLE = 2_000
"""Latest results that the latency percentiles are taken over."""


def read_summary(session: Session, window: Window) -> Summary:
    """Headline figures of a window."""
    verdicts = dict.fromkeys(map(str, Verdict), 0)
    query = select(Result.verdict, func.count()).where(*_within(window)).group_by(Result.verdict)
    for verdict, count in session.execute(query):
        verdicts[str(verdict)] = count
    first = _first_inspections(window).subquery()
    good, parts = session.execute(
        select(func.sum(_is_ok(first.c.verdict)), func.count()).select_from(first)
    ).one()
    reviewed = _reviewed(session, window)
    reported = _reported(session, window)
    return Summary(
        results=sum(verdicts.values()),
        verdicts=verdicts,
        first_pass=wilson_rate(int(good or 0), int(parts)),
        escapes=_escapes(reviewed),
        false_rejects=_false_rejects(reviewed),
        reported_escapes=reported[Verdict.OK, Verdict.NOT_OK],
        reported_false_rejects=reported[Verdict.NOT_OK, Verdict.OK],
        latency=_latency(session, window),
        hard_images=_hard_images(session, window),
        review=_review_counts(session, window),
    )


def read_record_counts(session: Session) -> list[RecordCount]:
    """Records of every boot of every cell: results, truths and station events together."""
    counts: Counter[tuple[str, str]] = Counter()
    last: dict[tuple[str, str], int] = {}
    for table in (Result, Truth, StationLogEntry):
        query = select(table.cell, table.boot_id, func.count(), func.max(table.seq)).group_by(
            table.cell, table.boot_id
        )
        for cell, boot_id, count, seq in session.execute(query):
            key = cell, str(boot_id)
            counts[key] += count
            last[key] = max(last.get(key, 0), seq)
    return [RecordCount(*key, counts[key], last[key]) for key in sorted(counts)]


def read_pareto(session: Session, window: Window) -> list[ParetoBar]:
    """Why parts were not OK, largest cause first; a part counts once for each of its reasons."""
    query = (
        select(Finding.code, Finding.category, func.count())
        .where(*_within(window, Finding))
        .group_by(Finding.code, Finding.category)
    )
    rows = session.execute(query)
    return pareto_bars((str(code), category, count) for code, category, count in rows)


def read_yield(session: Session, window: Window, *, bucket_s: int) -> list[YieldPoint]:
    """First-pass yield over time; stretches without parts are left out, the latest are kept.

    Args:
        session: A read transaction.
        window: Which results.
        bucket_s: Length of a stretch in seconds; they start at multiples of it since 1970.
    """
    first = _first_inspections(window).subquery()
    epoch = extract("epoch", first.c.created_at)
    # SQLite gives whole seconds by itself, and may have been built without floor().
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    seconds = cast(epoch if is_sqlite else func.floor(epoch), BigInteger)
    start = (seconds - seconds % bucket_s).label("start")
    query = (
        select(start, func.sum(_is_ok(first.c.verdict)), func.count())
        .select_from(first)
        .group_by(start)
        .order_by(start.desc())
        .limit(MAX_BUCKETS)
    )
    points = [
        YieldPoint(datetime.fromtimestamp(int(moment), UTC), wilson_rate(int(good), int(parts)))
        for moment, good, parts in session.execute(query)
    ]
    return points[::-1]


def _within(
    window: Window, table: type[Result | Finding | Image | Truth] = Result
) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if window.cell is not None:
        conditions.append(table.cell == window.cell)
    if window.since is not None:
        conditions.append(table.created_at >= window.since)
    if window.until is not None:
        conditions.append(table.created_at < window.until)
    return conditions


def _is_ok(verdict: ColumnElement[Verdict]) -> ColumnElement[int]:
    return case((verdict == Verdict.OK, 1), else_=0)


def _first_inspections(window: Window) -> Select[Verdict, datetime]:
    """The first joined verdict of each part at each cell."""
    rank = func.row_number().over(
        partition_by=(Result.cell, Result.part_id), order_by=(Result.created_at, Result.id)
    )
    ranked = (
        select(Result.verdict, Result.created_at, rank.label("place"))
        .where(Result.is_partial.is_(False), *_within(window))
        .subquery()
    )
    return select(ranked.c.verdict, ranked.c.created_at).where(ranked.c.place == 1)


def _reviewed(session: Session, window: Window) -> list[tuple[Verdict, list[str], bool]]:
    """Verdict, hard reasons and whether a reviewer drew a defect, of each labelled picture."""
    defects = set(
        session.scalars(select(CategoryRow.name).where(CategoryRow.kind == CategoryKind.DEFECT))
    )
    query = (
        select(Result.verdict, Image.hard_reasons, Annotation.boxes)
        .join(Image, Image.result_id == Result.result_id)
        .join(
            Annotation,
            (Annotation.image_sha256 == Image.sha256) & (Annotation.revision == Image.revision),
        )
        .where(Image.status == ReviewStatus.LABELLED, *_within(window, Image))
    )
    return [
        (verdict, reasons, any(box["category"] in defects for box in boxes))
        for verdict, reasons, boxes in session.execute(query)
    ]


def _escapes(reviewed: Sequence[tuple[Verdict, list[str], bool]]) -> Rate:
    # Only the random audit is an unbiased sample: the other reasons look for trouble.
    audited = [
        is_bad
        for verdict, reasons, is_bad in reviewed
        if verdict is Verdict.OK and HardReason.AUDIT in reasons
    ]
    return wilson_rate(sum(audited), len(audited))


def _false_rejects(reviewed: Sequence[tuple[Verdict, list[str], bool]]) -> Rate:
    rejects = [is_bad for verdict, _, is_bad in reviewed if verdict is Verdict.NOT_OK]
    return wilson_rate(len(rejects) - sum(rejects), len(rejects))


def _reported(session: Session, window: Window) -> Counter[tuple[Verdict | None, Verdict]]:
    query = (
        select(Truth.said, Truth.actual, func.count())
        .where(*_within(window, Truth))
        .group_by(Truth.said, Truth.actual)
    )
    return Counter({(said, actual): count for said, actual, count in session.execute(query)})


def _latency(session: Session, window: Window) -> Latency:
    query = (
        select(Result.processing_ms)
        .where(*_within(window))
        .order_by(Result.created_at.desc(), Result.id.desc())
        .limit(LATENCY_SAMPLE)
    )
    times = list(session.scalars(query))
    return Latency(len(times), percentile(times, 0.5), percentile(times, 0.99))


def _hard_images(session: Session, window: Window) -> dict[str, int]:
    query = (
        select(Image.hard_reasons, func.count())
        .where(*_within(window, Image))
        .group_by(Image.hard_reasons)
    )
    counts: Counter[str] = Counter()
    for reasons, count in session.execute(query):
        for reason in reasons:
            counts[reason] += count
    return dict(counts.most_common())


def _review_counts(session: Session, window: Window) -> dict[str, int]:
    query = select(Image.status, func.count()).where(*_within(window, Image)).group_by(Image.status)
    counts = dict.fromkeys(map(str, ReviewStatus), 0)
    return counts | {str(status): count for status, count in session.execute(query)}

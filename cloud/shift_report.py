"""What happened in a stretch of time, on one page: for the handover between shifts."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.control_chart import Group, PChart, p_chart
from cloud.csv_rows import csv_lines
from cloud.db.tables import Cell
from cloud.statistics import ParetoBar, Rate, Summary, Window
from cloud.statistics_queries import (
    no_summary,
    read_pareto,
    read_summaries,
    read_summary,
    read_yield,
)

_BUCKETS_S = (900, 1_800, 3_600, 14_400, 28_800, 86_400, 604_800)
MAX_GROUPS = 48
DAY_S = 86_400
ALL_CELLS = "all cells"


@dataclass(frozen=True, slots=True)
class ShiftReport:
    """The figures of a window, for all its cells together and for each."""

    window: Window
    made_at: datetime
    summaries: dict[str, Summary]
    """By cell; all together come first."""
    pareto: list[ParetoBar]
    chart: PChart


def bucket_for(window: Window, now: datetime) -> int:
    """Length in seconds of the groups that a window is best cut into."""
    if window.since is None:
        return DAY_S
    length_s = ((window.until or now) - window.since).total_seconds()
    return next((size for size in _BUCKETS_S if length_s <= MAX_GROUPS * size), _BUCKETS_S[-1])


def read_p_chart(session: Session, window: Window, *, bucket_s: int) -> PChart:
    """The p-chart of parts that were not OK at their first inspection."""
    points = read_yield(session, window, bucket_s=bucket_s)
    return p_chart(
        (
            Group(point.start, point.first_pass.n - point.first_pass.count, point.first_pass.n)
            for point in points
        ),
        bucket_s=bucket_s,
    )


def read_report(session: Session, window: Window, *, now: datetime) -> ShiftReport:
    """Read everything that the report tells."""
    if window.cell:
        summaries = {window.cell: read_summary(session, window)}
    else:
        busy = read_summaries(session, window)
        cells = session.scalars(select(Cell.cell).order_by(Cell.cell))
        summaries = {ALL_CELLS: read_summary(session, window)}
        summaries |= {cell: busy.get(cell) or no_summary() for cell in cells}
    return ShiftReport(
        window=window,
        made_at=now,
        summaries=summaries,
        pareto=read_pareto(session, window),
        chart=read_p_chart(session, window, bucket_s=bucket_for(window, now)),
    )


CSV_HEAD = ("section", "name", "count", "n", "ratio", "low", "high", "from", "to")


def report_csv(report: ShiftReport) -> Iterator[str]:
    """One table with a section a kind of figure, so that one sheet holds the whole report."""
    return csv_lines(CSV_HEAD, _csv_rows(report))


def _csv_rows(report: ShiftReport) -> Iterator[tuple[object, ...]]:
    since = report.window.since.isoformat() if report.window.since else None
    until = (report.window.until or report.made_at).isoformat()
    for cell, summary in report.summaries.items():
        for name, rate in rates_of(summary):
            yield (name, cell, rate.count, rate.n, rate.value, rate.low, rate.high, since, until)
        for verdict, count in summary.verdicts.items():
            yield ("results", f"{cell} {verdict}", count, summary.results, None, None, None,
                   since, until)  # fmt: skip
    for bar in report.pareto:
        name = f"{bar.code} {bar.category}" if bar.category else bar.code
        yield ("pareto", name, bar.count, None, bar.ratio, None, None, since, until)
    for point in report.chart.points:
        end = point.start + timedelta(seconds=report.chart.bucket_s)
        yield ("p-chart", point.signal or "", point.rejects, point.n, point.ratio, point.lower,
               point.upper, point.start.isoformat(), end.isoformat())  # fmt: skip


def rates_of(summary: Summary) -> tuple[tuple[str, Rate], ...]:
    """The rates that the report tells, by name."""
    return (
        ("first-pass yield", summary.first_pass),
        ("escapes", summary.escapes),
        ("false rejects", summary.false_rejects),
    )

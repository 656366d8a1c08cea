"""The figures of `cloud.statistics`, summed up from the tallies: see `cloud.tallies`.

Every function takes a read transaction (``with database.read() as session``) and a `Window`, is
exact for any window, and costs the same however many results there are.
"""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.db.count_tables import BootCount
from cloud.db.tables import Result, ReviewStatus
from cloud.statistics import (
    Latency,
    ParetoBar,
    Rate,
    RecordCount,
    Summary,
    VerdictPoint,
    Window,
    YieldPoint,
    pareto_bars,
    percentile,
    wilson_rate,
)
from cloud.tallies import BAD, GOOD, Look, TallyKind
from cloud.tally_queries import (
    Sums,
    conditions,
    newest_moment,
    sum_by_bucket,
    sum_by_cell,
    sum_tallies,
    sum_tallies_by_cell,
)
from models.contract.messages import Verdict

MAX_BUCKETS = 1_000
LATENCY_SAMPLE = 2_000
"""Latest results that the latency percentiles are taken over."""
LATENCY_SAMPLE_OF_CELLS = 500
"""The same where every cell is asked for at once."""
_SUMMARY = (
    TallyKind.VERDICT,
    TallyKind.FIRST,
    TallyKind.TRUTH,
    TallyKind.HARD,
    TallyKind.REVIEW,
    TallyKind.LOOK,
)


def read_summary(session: Session, window: Window) -> Summary:
    """Headline figures of a window.

    A recipe narrows results and first-pass yield; pictures and findings from downstream belong to
    no recipe and stay those of the cell.
    """
    return _summary(sum_tallies(session, window, _SUMMARY), _latency(session, window))


def read_summaries(session: Session, window: Window) -> dict[str, Summary]:
    """The same for each cell that there is anything of; their latency is that of fewer results."""
    found = {}
    for cell, sums in sorted(sum_tallies_by_cell(session, window, _SUMMARY).items()):
        own = Window(cell, window.since, window.until, window.recipe_id)
        found[cell] = _summary(sums, _latency(session, own, sample=LATENCY_SAMPLE_OF_CELLS))
    return found


def no_summary() -> Summary:
    """The figures of a cell that did nothing."""
    return _summary(Counter(), Latency(0, None, None))


def _summary(sums: Sums, latency: Latency) -> Summary:
    verdicts = dict.fromkeys(map(str, Verdict), 0) | _by_name(sums, TallyKind.VERDICT)
    hard = Counter(_by_name(sums, TallyKind.HARD))
    return Summary(
        results=sum(verdicts.values()),
        verdicts=verdicts,
        first_pass=_first_pass(_by_name(sums, TallyKind.FIRST)),
        escapes=_look_rate(sums, Look.AUDIT, bad=True),
        false_rejects=_look_rate(sums, Look.REJECT, bad=False),
        reported_escapes=sums[TallyKind.TRUTH, Verdict.NOT_OK, Verdict.OK],
        reported_false_rejects=sums[TallyKind.TRUTH, Verdict.OK, Verdict.NOT_OK],
        latency=latency,
        hard_images=dict(hard.most_common()),
        review=_review_counts(sums),
    )


def read_record_counts(session: Session) -> list[RecordCount]:
    """Records of every boot of every cell: results, truths and station events together."""
    query = select(BootCount).order_by(BootCount.cell, BootCount.boot_id)
    return [
        RecordCount(boot.cell, str(boot.boot_id), boot.num_records, boot.last_seq)
        for boot in session.scalars(query)
    ]


def read_pareto(session: Session, window: Window) -> list[ParetoBar]:
    """Why parts were not OK, largest cause first; a part counts once for each of its reasons."""
    sums = sum_tallies(session, window, [TallyKind.CAUSE])
    return pareto_bars((code, category or None, n) for (_, code, category), n in sums.items() if n)


def read_yield(session: Session, window: Window, *, bucket_s: int) -> list[YieldPoint]:
    """First-pass yield over time; stretches without parts are left out.

    Args:
        session: A read transaction.
        window: Which results; at most the `MAX_BUCKETS` stretches before its end are read.
        bucket_s: Length of a stretch in seconds; they start at multiples of it since 1970.
            Multiples of 900 are read from the tallies, others from the rows.
    """
    return [
        YieldPoint(start, _first_pass(counts))
        for start, counts in _over_time(session, window, TallyKind.FIRST, bucket_s)
    ]


def read_verdicts_over_time(
    session: Session, window: Window, *, bucket_s: int
) -> list[VerdictPoint]:
    """Joined verdicts in each stretch, what a p-chart is drawn from; see `read_yield`."""
    return [
        VerdictPoint(start, dict.fromkeys(map(str, Verdict), 0) | counts)
        for start, counts in _over_time(session, window, TallyKind.PART, bucket_s)
    ]


def read_parts_by_cell(session: Session, window: Window) -> dict[str, dict[str, int]]:
    """Joined verdicts of each cell, what shift counters show."""
    cells: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(map(str, Verdict), 0))
    for (cell, name), n in sum_by_cell(session, window, TallyKind.PART).items():
        cells[cell][name] += n
    return dict(cells)


def count_pictures(session: Session, window: Window | None = None) -> dict[str, int]:
    """Pictures by review status; for instance how many wait."""
    return _review_counts(sum_tallies(session, window or Window(), [TallyKind.REVIEW]))


def _over_time(
    session: Session, window: Window, kind: TallyKind, bucket_s: int
) -> list[tuple[datetime, dict[str, int]]]:
    newest = newest_moment(session, window)
    if newest is None:
        return []
    # Whole stretches: the last one holds the newest result, so that as many as asked for are read.
    reach = timedelta(seconds=(MAX_BUCKETS - 1) * bucket_s)
    last = int(newest.timestamp()) // bucket_s * bucket_s
    since = datetime.fromtimestamp(last, UTC) - reach
    if window.since is None or window.since < since:
        window = Window(window.cell, since, window.until, window.recipe_id)
    sums = sum_by_bucket(session, window, kind, bucket_s)
    return [(start, counts) for start, counts in sorted(sums.items()) if any(counts.values())]


def _by_name(sums: Sums, kind: TallyKind) -> dict[str, int]:
    found: Counter[str] = Counter()
    for (tallied, name, _), n in sums.items():
        if tallied == kind and n:
            found[name] += n
    return dict(found)


def _first_pass(verdicts: dict[str, int]) -> Rate:
    return wilson_rate(verdicts.get(Verdict.OK, 0), sum(verdicts.values()))


def _look_rate(sums: Sums, look: Look, *, bad: bool) -> Rate:
    n_bad, n_good = sums["look", look, BAD], sums["look", look, GOOD]
    return wilson_rate(n_bad if bad else n_good, n_bad + n_good)


def _review_counts(sums: Sums) -> dict[str, int]:
    return dict.fromkeys(map(str, ReviewStatus), 0) | _by_name(sums, TallyKind.REVIEW)


def _latency(session: Session, window: Window, *, sample: int = LATENCY_SAMPLE) -> Latency:
    query = (
        select(Result.processing_ms)
        .where(*conditions(window, Result))
        .order_by(Result.created_at.desc(), Result.id.desc())
        .limit(sample)
    )
    times = list(session.scalars(query))
    return Latency(len(times), percentile(times, 0.5), percentile(times, 0.99))

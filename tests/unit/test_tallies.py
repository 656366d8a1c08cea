from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cloud.tallies import (
    SPANS_S,
    PictureFacts,
    Segment,
    cover,
    of_picture,
    quarter_of,
)
from models.contract.messages import Verdict

START = datetime(2025, 11, 1, tzinfo=UTC)
moments = st.timedeltas(timedelta(0), timedelta(days=150)).map(START.__add__)


@given(low=moments, length=st.timedeltas(timedelta(0), timedelta(days=90)), probe=moments)
def test_every_moment_of_a_window_is_counted_once_and_no_other(
    low: datetime, length: timedelta, probe: datetime
) -> None:
    segments, edges = cover(low, low + length)
    for moment in (probe, low, low + length, low - timedelta(microseconds=1)):
        seconds = moment.timestamp()
        hits = sum(_holds(segment, seconds) for segment in segments)
        hits += sum(edge.since <= moment < edge.until for edge in edges)
        assert hits == (low <= moment < low + length)


def _holds(segment: Segment, seconds: float) -> bool:
    assert segment.start_s is not None
    assert segment.end_s is not None
    start_s = int(seconds) - int(seconds) % segment.span_s
    return segment.start_s <= start_s < segment.end_s


@given(low=moments, length=st.timedeltas(timedelta(0), timedelta(days=2000)))
def test_a_window_of_years_is_a_few_pieces_with_short_ends(
    low: datetime, length: timedelta
) -> None:
    segments, edges = cover(low, low + length)
    assert len(segments) <= 2 * len(SPANS_S) - 1
    assert len(edges) <= 2
    assert all(edge.until - edge.since < 2 * timedelta(seconds=SPANS_S[0]) for edge in edges)


def test_all_of_history_is_one_piece() -> None:
    assert cover(None, None) == ([Segment(SPANS_S[-1], None, None)], [])


def test_an_empty_window_is_no_piece() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert cover(now, now) == ([], [])


def test_each_stretch_divides_the_next() -> None:
    assert all(longer % shorter == 0 for shorter, longer in pairwise(SPANS_S))


def test_a_quarter_begins_on_the_quarter() -> None:
    moment = datetime(2026, 1, 1, 8, 29, 59, 999_999, tzinfo=UTC)
    assert quarter_of(moment) == datetime(2026, 1, 1, 8, 15, tzinfo=UTC).timestamp()


def test_only_the_random_audit_of_good_parts_measures_escapes() -> None:
    def looks(verdict: Verdict | None, *reasons: str) -> Counter[tuple[str, str]]:
        facts = PictureFacts(
            "a/b/c/d", datetime(2026, 1, 1, tzinfo=UTC), reasons, "labelled", True, verdict
        )
        return Counter((key.name, key.detail) for key in of_picture(facts) if key.kind == "look")

    assert looks(Verdict.OK, "audit", "uncertain") == {("audit", "bad"): 1}
    assert looks(Verdict.OK, "uncertain") == {}
    assert looks(Verdict.NOT_OK, "reject") == {("reject", "bad"): 1}
    assert looks(Verdict.NOT_DECIDABLE, "audit") == {}
    assert looks(None, "audit") == {}

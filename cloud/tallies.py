"""Counting as rows arrive: what is counted, in which stretches of time, how they cover a window.

Pure. A figure over any window is the sum of the longest stretches that fit into it, of shorter
ones beside them, and of the rows themselves in the ragged ends, which are shorter than
`SPANS_S[0]`. So it is exact, and costs the same over ten million rows as over ten thousand.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from models.contract.messages import HardReason, Inspection, Truth, Verdict

QUARTER_S, HOUR_S, DAY_S, MONTH_S = 900, 3_600, 86_400, 2_592_000
SPANS_S = (QUARTER_S, HOUR_S, DAY_S, MONTH_S)
"""Stretches in seconds, each a multiple of the one before; they start at multiples of themselves
since 1970. Quarters, since shifts and time zones begin on them; 30 days, since months differ."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND, _SECOND = timedelta(microseconds=1), timedelta(seconds=1)
_SCALE = 1_000_000


class TallyKind(StrEnum):
    """What is counted; the name, and where it says so the detail, tells things apart."""

    VERDICT = "verdict"
    """Results, each view by itself; name: the verdict."""
    PART = "part"
    """Results that join all views; name: the verdict."""
    FIRST = "first"
    """First joined result of each part at a cell; name: the verdict."""
    CAUSE = "cause"
    """Reasons of verdicts; name: the code, detail: the category or nothing."""
    TRUTH = "truth"
    """What parts were found to be downstream; name: that, detail: what the station said."""
    HARD = "hard"
    """Pictures by the reason they were kept for; name: the reason."""
    REVIEW = "review"
    """Pictures; name: the review status."""
    LOOK = "look"
    """Labelled pictures of which the rates are made; name: `Look`, detail: bad or good."""
    BYTES = "bytes"
    """What pictures take up; name: the review status."""


class Look(StrEnum):
    """Which rate a labelled picture belongs to."""

    AUDIT = "audit"
    """A part passed as OK whose picture was kept by chance alone: the unbiased sample."""
    REJECT = "reject"
    """A part that was rejected."""


BAD, GOOD = "bad", "good"


class TallyKey(NamedTuple):
    """One counter of the shortest stretch; longer ones follow from it."""

    kind: str
    cell: str
    start_s: int
    recipe_id: str
    name: str
    detail: str = ""


Tallies = Counter[TallyKey]
"""How often, or how much."""


def quarter_of(moment: datetime) -> int:
    """Beginning of the shortest stretch that a moment lies in, in seconds since 1970."""
    seconds = (moment - _EPOCH) // _SECOND
    return seconds - seconds % QUARTER_S


class ResultFacts(NamedTuple):
    """What counts of a result beside its reasons; many are alike."""

    cell: str
    start_s: int
    recipe_id: str
    verdict: str
    is_partial: bool
    is_first: bool


def of_results(results: Iterable[ResultFacts]) -> Tallies:
    """What results count as."""
    found = Tallies()
    for facts, n in Counter(results).items():
        cell, start_s, recipe_id, verdict, is_partial, is_first = facts
        found[TallyKey("verdict", cell, start_s, recipe_id, verdict)] += n
        if not is_partial:
            found[TallyKey("part", cell, start_s, recipe_id, verdict)] += n
        if is_first:
            found[TallyKey("first", cell, start_s, recipe_id, verdict)] += n
    return found


def of_reasons(cell: str, created_at: datetime, body: Inspection) -> Iterator[TallyKey]:
    """What the reasons of one result count as."""
    start_s = quarter_of(created_at)
    for reason in body.reasons:
        category = (reason.category or "")[:64]
        yield TallyKey("cause", cell, start_s, body.recipe_id, reason.code.value, category)


def of_truth(cell: str, created_at: datetime, body: Truth) -> TallyKey:
    """What one finding from downstream counts as."""
    said = body.said.value if body.said is not None else ""
    return TallyKey("truth", cell, quarter_of(created_at), "", body.actual.value, said)


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What counts of a picture.

    Attributes:
        cell: Where it was taken.
        created_at: When.
        hard_reasons: Why it was kept.
        status: How its review stands.
        is_bad: Whether the label in force shows a defect; None while it is not labelled.
        verdict: What the station said; None while its record has not arrived.
        num_bytes: How large it is.
    """

    cell: str
    created_at: datetime
    hard_reasons: Sequence[str]
    status: str
    is_bad: bool | None = None
    verdict: Verdict | None = None
    num_bytes: int = 0


def of_picture(picture: PictureFacts) -> Tallies:
    """What one picture counts as, as its review stands."""
    cell, start_s = picture.cell, quarter_of(picture.created_at)
    found = Tallies(TallyKey("hard", cell, start_s, "", str(name)) for name in picture.hard_reasons)
    found[TallyKey("review", cell, start_s, "", str(picture.status))] = 1
    found[TallyKey("bytes", cell, start_s, "", str(picture.status))] = picture.num_bytes
    look = look_of(picture.verdict, picture.hard_reasons)
    if look is not None and picture.is_bad is not None:
        detail = BAD if picture.is_bad else GOOD
        found[TallyKey("look", cell, start_s, "", look.value, detail)] = 1
    return found


def look_of(verdict: Verdict | None, hard_reasons: Iterable[str]) -> Look | None:
    """Which rate a labelled picture belongs to, if any."""
    if verdict is Verdict.NOT_OK:
        return Look.REJECT
    # Only the random audit is an unbiased sample: the other reasons look for trouble.
    if verdict is Verdict.OK and HardReason.AUDIT in hard_reasons:
        return Look.AUDIT
    return None


@dataclass(frozen=True, slots=True)
class Segment:
    """Stretches of one length from ``start_s`` on, before ``end_s``; None: without an end there."""

    span_s: int
    start_s: int | None
    end_s: int | None


@dataclass(frozen=True, slots=True)
class Edge:
    """A ragged end of a window, too short for any stretch: its rows are counted."""

    since: datetime
    until: datetime


def cover(
    since: datetime | None, until: datetime | None, *, spans_s: Sequence[int] = SPANS_S
) -> tuple[list[Segment], list[Edge]]:
    """Cut a window into stretches and ragged ends, all apart and together the whole window.

    Args:
        since: Beginning of the window; None: as far back as there is anything.
        until: Its end, which does not belong to it; None: as far as there is anything.
        spans_s: Stretches to use, the shortest first; each divides the next.
    """
    segments: list[Segment] = []
    edges: list[Edge] = []
    low = None if since is None else (since - _EPOCH) // _MICROSECOND
    high = None if until is None else (until - _EPOCH) // _MICROSECOND
    _cover(low, high, list(spans_s), segments, edges)
    return segments, edges


def _cover(
    low: int | None,
    high: int | None,
    spans_s: list[int],
    segments: list[Segment],
    edges: list[Edge],
) -> None:
    if low is not None and high is not None and low >= high:
        return
    if not spans_s:
        if low is None or high is None:  # only where no stretch may be used at all
            raise ValueError("an open window needs stretches")
        edges.append(Edge(_moment(low), _moment(high)))
        return
    *shorter, longest = spans_s
    size = longest * _SCALE
    first = None if low is None else -(-low // size) * size
    last = None if high is None else high // size * size
    if first is not None and last is not None and first >= last:
        _cover(low, high, shorter, segments, edges)
        return
    segments.append(Segment(longest, _seconds(first), _seconds(last)))
    if first is not None:
        _cover(low, first, shorter, segments, edges)
    if last is not None:
        _cover(last, high, shorter, segments, edges)


def _seconds(microseconds: int | None) -> int | None:
    return None if microseconds is None else microseconds // _SCALE


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)

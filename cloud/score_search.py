"""Results in which a class was found with a score in a band.

Scores stand inside each result's JSON, where no index reaches. So a search looks through a bounded
number of results, newest first, gives what it found, and says where to go on: every answer takes
about as long, whether the table has a thousand rows or ten million.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Float, String, cast, func, select
from sqlalchemy.orm import Session

from cloud.db.tables import Result
from cloud.results import ResultFilter, newest_first

NUM_LOOKED_THROUGH = 5_000
"""About 0.1 s on either database."""

Cursor = tuple[datetime, int]


@dataclass(frozen=True, slots=True)
class ScoreBand:
    """A class, and the scores that are wanted of it."""

    category: str
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True, slots=True)
class ScoreMatches:
    """What was found, and where the search goes on; None: that is all."""

    results: Sequence[Result]
    next: Cursor | None
    searched_to: datetime | None
    """How far back it looked; None: to the beginning."""


def find_by_score(
    session: Session,
    wanted: ResultFilter,
    band: ScoreBand,
    *,
    limit: int,
    before: Cursor | None = None,
) -> ScoreMatches:
    """Newest results first.

    Args:
        session: A read transaction.
        wanted: What else is asked of a result.
        band: Class and scores.
        limit: How many at most.
        before: ``next`` of the matches before.
    """
    looked_at = (
        newest_first(wanted, before=before)
        .with_only_columns(Result.id, Result.created_at)
        .limit(NUM_LOOKED_THROUGH)
        .subquery()
    )
    found = session.scalars(
        select(Result)
        .join(looked_at, looked_at.c.id == Result.id)
        .where(_has_score(session, band))
        .order_by(Result.created_at.desc(), Result.id.desc())
        .limit(limit + 1)
    ).all()
    if len(found) > limit:
        last = found[limit - 1]
        return ScoreMatches(found[:limit], (last.created_at, last.id), last.created_at)
    end = session.execute(
        select(looked_at.c.created_at, looked_at.c.id)
        .order_by(looked_at.c.created_at.desc(), looked_at.c.id.desc())
        .offset(NUM_LOOKED_THROUGH - 1)
    ).first()
    return ScoreMatches(found, (end[0], end[1]) if end else None, end[0] if end else None)


def _has_score(session: Session, band: ScoreBand) -> ColumnElement[bool]:
    category: ColumnElement[Any]
    score: ColumnElement[Any]
    if session.get_bind().dialect.name == "sqlite":
        item = func.json_each(Result.detections).table_valued("value")
        category = func.json_extract(item.c.value, "$.category")
        score = func.json_extract(item.c.value, "$.score")
    else:
        item = func.jsonb_array_elements(Result.detections).table_valued("value")
        category = func.jsonb_extract_path_text(item.c.value, "category")
        score = cast(func.jsonb_extract_path_text(item.c.value, "score"), Float)
    conditions = cast(category, String) == band.category, score >= band.low, score <= band.high
    return select(1).select_from(item).where(*conditions).exists()

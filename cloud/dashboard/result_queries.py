"""Rows of the results table, over the same search as the API's."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from cloud.dashboard import wording
from cloud.dashboard.links import part_url, thumbnail_url
from cloud.db.session import Database
from cloud.db.tables import Cell, Image, Release, Result
from cloud.results import PartTrace, ResultFilter, find_results, images_of, trace_part
from cloud.score_search import ScoreBand, find_by_score

PAGE_ROWS = 60

Json = dict[str, Any]
Cursor = tuple[datetime, int]


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for."""

    wanted: ResultFilter
    band: ScoreBand | None = None
    """A class that was found with a score in a band."""


@dataclass(frozen=True, slots=True)
class ResultPage:
    """Some rows and where the next ones begin."""

    rows: list[Json]
    newest: datetime | None
    next: Cursor | None
    searched: str = ""
    """How far back a search through scores has come, in words."""


def result_page(database: Database, search: Search, *, after: Cursor | None = None) -> ResultPage:
    """Newest first, one page."""
    if search.band is not None:
        return _score_page(database, search.wanted, search.band, after)
    with database.read() as session:
        found = find_results(session, search.wanted, limit=PAGE_ROWS + 1, before=after)
        shown = found[:PAGE_ROWS]
        images = images_of(session, shown)
    last = shown[-1] if len(found) > PAGE_ROWS else None
    return ResultPage(
        rows=[_row(row, images.get(row.result_id)) for row in shown],
        newest=shown[0].created_at if shown else None,
        next=(last.created_at, last.id) if last else None,
    )


def _score_page(
    database: Database, wanted: ResultFilter, band: ScoreBand, after: Cursor | None
) -> ResultPage:
    with database.read() as session:
        found = find_by_score(session, wanted, band, limit=PAGE_ROWS, before=after)
        images = images_of(session, found.results)
    rows = [_row(row, images.get(row.result_id)) for row in found.results]
    searched = ""
    if found.searched_to is not None and len(rows) < PAGE_ROWS:
        searched = f"Looked back to {found.searched_to.astimezone():%d %b %H:%M:%S}."
    newest = found.results[0].created_at if found.results else None
    return ResultPage(rows, newest, found.next, searched)


def count_newer(database: Database, wanted: ResultFilter, newest: datetime) -> int:
    """How many parts came on top of what is shown; counting stops at a page."""
    with database.read() as session:
        rows = find_results(session, wanted, limit=PAGE_ROWS)
    return sum(row.created_at > newest for row in rows)


def cells(database: Database) -> list[str]:
    """Every cell that was heard of."""
    with database.read() as session:
        return list(session.scalars(select(Cell.cell).order_by(Cell.cell)))


def trace(database: Database, part_id: str) -> tuple[PartTrace, dict[int, Release]]:
    """All about a part, and the releases that judged it."""
    with database.read() as session:
        found = trace_part(session, part_id)
        numbers = {row.release for row in found.results if row.release}
        releases = session.scalars(select(Release).where(Release.release.in_(numbers))).all()
    return found, {release.release: release for release in releases}


def _row(row: Result, image: Image | None) -> Json:
    shorts = dict.fromkeys(wording.reason_short(reason) for reason in row.reasons)
    return {
        "key": row.id,
        "part_id": row.part_id,
        "href": part_url(row.part_id),
        "cell": wording.cell_title(row.cell),
        "view": row.view,
        "created_ms": wording.milliseconds(row.created_at),
        "verdict": row.verdict.value,
        "reasons": wording.sentence(", ".join(shorts)),
        "hard": ", ".join(wording.hard_reason_text(reason) for reason in row.hard_reasons),
        "model": wording.model_text(row.model_name, row.release),
        "recipe": f"{row.recipe_id} v{row.recipe_version}",
        "latency_ms": row.processing_ms,
        "thumbnail": thumbnail_url(image.sha256) if image else "",
    }

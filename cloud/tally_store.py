"""Tallies in the database: added to in the transaction of the rows that they count."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.db.tables import Annotation, CategoryRow, Image, Result, ReviewStatus
from cloud.picture_value import value_of
from cloud.tallies import SPANS_S, PictureFacts, Tallies, TallyKey, of_picture
from models.contract.bundle import CategoryKind

_COLUMNS = "span_s, kind, cell, start_s, recipe_id, name, detail"
_SQLITE = (
    f"INSERT INTO tallies ({_COLUMNS}, n) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
    f" ON CONFLICT ({_COLUMNS}) DO UPDATE SET n = n + excluded.n"
)
# One statement, however many counters: a round trip for each would cost more than the rows.
_POSTGRESQL = (
    f"INSERT INTO tallies ({_COLUMNS}, n) SELECT * FROM unnest(%s::int[], %s::text[], %s::text[],"  # noqa: S608
    " %s::bigint[], %s::text[], %s::text[], %s::text[], %s::bigint[])"
    f" ON CONFLICT ({_COLUMNS}) DO UPDATE SET n = tallies.n + excluded.n"
)


def add_tallies(session: Session, tallies: Tallies) -> None:
    """Add to the counters; the last thing that a transaction does.

    Every ingest process writes the same few rows, and waits for another's until that one commits:
    so it must not have much to do in between, and all must come in the same order.
    """
    rows: dict[tuple[int, str, str, int, str, str, str], int] = defaultdict(int)
    for (kind, cell, start_s, recipe_id, name, detail), n in tallies.items():
        for span_s in SPANS_S:
            rows[span_s, kind, cell, start_s - start_s % span_s, recipe_id, name, detail] += n
    values = [(*key, rows[key]) for key in sorted(rows) if rows[key]]
    if not values:
        return
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(_SQLITE, values)
    else:
        connection.exec_driver_sql(_POSTGRESQL, tuple(map(list, zip(*values, strict=True))))


@contextmanager
def counted_review(session: Session, image: Image) -> Iterator[None]:
    """Keep the tallies right while a picture's review status, label or reasons are changed.

    Everything that changes `Image.status`, `Image.revision` or `Image.hard_reasons` does so
    inside, in the same transaction.
    """
    before = of_picture(review_facts(session, image))
    yield
    image.value = value_of(image.hard_reasons)
    session.flush()
    after = of_picture(review_facts(session, image))
    after.subtract(before)
    add_tallies(session, after)


def review_facts(session: Session, image: Image) -> PictureFacts:
    """What counts of a picture, as it stands."""
    is_bad = verdict = None
    if image.status is ReviewStatus.LABELLED:
        verdict = session.scalar(
            select(Result.verdict).where(Result.result_id == image.result_id).limit(1)
        )
        label = session.get(Annotation, (image.sha256, image.revision))
        defects = select(CategoryRow.name).where(CategoryRow.kind == CategoryKind.DEFECT)
        known = set(session.scalars(defects))
        is_bad = label is not None and any(box["category"] in known for box in label.boxes)
    return PictureFacts(
        image.cell,
        image.created_at,
        image.hard_reasons,
        image.status.value,
        is_bad,
        verdict,
        image.num_bytes,
    )


def late_looks(session: Session, results: Sequence[UUID]) -> Iterator[TallyKey]:
    """What labelled pictures count as now that their records have come, after the label."""
    images = session.scalars(
        select(Image).where(Image.result_id.in_(results), Image.status == ReviewStatus.LABELLED)
    ).all()
    for image in images:
        yield from (key for key in of_picture(review_facts(session, image)) if key.kind == "look")

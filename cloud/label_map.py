"""The label map: which categories there are, and in which order."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.db.tables import CategoryRow
from models.contract.bundle import Category


def read_categories(session: Session) -> list[Category]:
    """Every category in the order of the label map."""
    rows = session.scalars(select(CategoryRow).order_by(CategoryRow.position, CategoryRow.name))
    return [Category(name=row.name, kind=row.kind) for row in rows]


def add_categories(
    session: Session, categories: Iterable[Category], *, actor: str, now: datetime
) -> list[str]:
    """Append the categories that are not there yet; gives their names."""
    known = {row.name: row.position for row in session.scalars(select(CategoryRow))}
    position = max(known.values(), default=-1)
    added = []
    for category in categories:
        if category.name in known or category.name in added:
            continue
        position += 1
        added.append(category.name)
        session.add(
            CategoryRow(
                name=category.name,
                kind=category.kind,
                position=position,
                created_at=now,
                created_by=actor,
            )
        )
    return added

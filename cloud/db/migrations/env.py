"""Alembic's entry: runs on the connection that `cloud.db.migration` hands over."""

from typing import Literal

from alembic import context

from cloud.db import tables
from cloud.db.types import UtcDateTime


def _render_item(kind: str, item: object, _context: object) -> str | Literal[False]:
    # Migrations must go on meaning the same when our own types change.
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.Cell.metadata,
    render_item=_render_item,
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()

"""Messages that could never be taken."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy import select

from cloud.api.context import Ctx, MlEngineer
from cloud.api.paging import Cursor, Limit, Page, decode_cursor, page_of
from cloud.db.tables import DeadLetter

router = APIRouter(prefix="/v1/dead-letters", tags=["operations"])
SHOWN_BYTES = 2_000


class DeadLetterOut(BaseModel):
    """A message that was set aside, and why."""

    id: int
    received_at: datetime
    topic: str
    cell: str | None
    reason: str
    num_bytes: int
    beginning: str
    """First bytes as text; what is not text is replaced."""


def _letter_out(letter: DeadLetter) -> DeadLetterOut:
    return DeadLetterOut(
        beginning=letter.payload[:SHOWN_BYTES].decode(errors="replace"),
        **{
            name: getattr(letter, name)
            for name in DeadLetterOut.model_fields
            if name != "beginning"
        },
    )


@router.get("")
def list_dead_letters(
    context: Ctx, _engineer: MlEngineer, limit: Limit = 50, cursor: Cursor = None
) -> Page[DeadLetterOut]:
    """Dead letters, newest first."""
    query = select(DeadLetter).order_by(DeadLetter.id.desc()).limit(limit + 1)
    if cursor is not None:
        (before,) = decode_cursor(cursor, int)
        query = query.where(DeadLetter.id < before)
    with context.database.read() as session:
        letters = session.scalars(query).all()
    return page_of(letters, limit, item=_letter_out, key=lambda letter: (letter.id,))

"""Messages that could never be taken."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from cloud.api.context import Admin, Ctx, MlEngineer
from cloud.api.paging import MAX_LIMIT, Page, decode_cursor, page_of
from cloud.db.tables import DeadLetter

router = APIRouter(prefix="/v1/dead-letters", tags=["operations"])
SHOWN_BYTES = 2_000

LetterId = Annotated[int, Path(ge=1, le=2**53, description="Number of the dead letter")]


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


class DeadLetterQuery(BaseModel):
    """Filter and page of the list; a misspelt one is an error."""

    model_config = ConfigDict(extra="forbid")

    cell: str | None = Field(default=None, min_length=1, max_length=131, pattern=r"^[^\x00]+$")
    limit: int = Field(default=50, ge=1, le=MAX_LIMIT)
    cursor: str | None = Field(default=None, max_length=300)


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
    context: Ctx, _engineer: MlEngineer, query: Annotated[DeadLetterQuery, Query()]
) -> Page[DeadLetterOut]:
    """Dead letters, newest first."""
    before = decode_cursor(query.cursor, int)[0] if query.cursor else None
    letters = context.dead_letters.recent(limit=query.limit + 1, before=before, cell=query.cell)
    return page_of(letters, query.limit, item=_letter_out, key=lambda letter: (letter.id,))


@router.get(
    "/{letter_id}/payload",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
def get_payload(context: Ctx, _engineer: MlEngineer, letter_id: LetterId) -> Response:
    """The bytes that were kept, as a file: whatever they are, no browser shall run them."""
    letter = context.dead_letters.get(letter_id)
    headers = {"Content-Disposition": f'attachment; filename="dead-letter-{letter_id}.bin"'}
    return Response(letter.payload, media_type="application/octet-stream", headers=headers)


@router.post("/{letter_id}/retry", status_code=204)
def retry_letter(context: Ctx, identity: Admin, letter_id: LetterId) -> Response:
    """Take a message after all; refused where it still cannot be read."""
    context.dead_letters.retry(letter_id, actor=identity.name)
    return Response(status_code=204)


@router.delete("/{letter_id}", status_code=204)
def dismiss_letter(context: Ctx, identity: Admin, letter_id: LetterId) -> Response:
    """Throw a message away."""
    context.dead_letters.dismiss(letter_id, actor=identity.name)
    return Response(status_code=204)

"""Pages by cursor: stable while rows are added, and as fast on the last page as on the first."""

import base64
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import AfterValidator, AwareDatetime, BaseModel

from cloud.errors import InvalidError

MAX_LIMIT = 500
Item = TypeVar("Item")
Row = TypeVar("Row")

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Rows on a page")]
Cursor = Annotated[
    str | None, Query(max_length=300, description="`next` of the page before this one")
]


def _within_reason(moment: datetime) -> datetime:
    # Years 1 and 9999 overflow when they are turned into UTC.
    if not 1970 <= moment.year <= 9000:
        raise ValueError("the year must lie between 1970 and 9000")
    return moment.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_within_reason)]
"""A moment given by a caller, with its time zone."""


class Page(BaseModel, Generic[Item]):
    """Some of the rows; ``next`` is the cursor of the following page, null on the last."""

    items: list[Item]
    next: str | None = None


def encode_cursor(*key: str | int | datetime) -> str:
    """Cursor that continues after the row with this sort key."""
    parts = [part.isoformat() if isinstance(part, datetime) else part for part in key]
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *kinds: type) -> tuple[Any, ...]:
    """Read a cursor back; ``kinds`` are the types of its parts.

    Raises:
        InvalidError: it is not a cursor of this list.
    """
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        parts = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
        return tuple(_part(part, kind) for part, kind in zip(parts, kinds, strict=True))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidError("cursor: it is not the `next` of a page of this list") from error


def _part(part: object, kind: type) -> object:
    if kind is datetime:
        moment = datetime.fromisoformat(str(part))
        if moment.tzinfo is None:
            raise ValueError("a moment without a time zone")
        return moment.astimezone(UTC)
    if type(part) is not kind or (kind is int and abs(int(str(part))) >= 2**63):
        raise ValueError("wrong type")
    return part


def page_of(
    rows: Sequence[Row],
    limit: int,
    *,
    item: Callable[[Row], Item],
    key: Callable[[Row], tuple[str | int | datetime, ...]],
) -> Page[Item]:
    """Make a page of up to ``limit`` rows; ``rows`` were asked for with ``limit + 1``."""
    shown = rows[:limit]
    following = encode_cursor(*key(shown[-1])) if len(rows) > limit else None
    return Page(items=[item(row) for row in shown], next=following)

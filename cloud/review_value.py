"""The order of the review queue, for the database to sort by."""

from sqlalchemy import ColumnElement, Text, cast
from sqlalchemy.orm import InstrumentedAttribute

from cloud.db.tables import Image
from cloud.picture_value import NO_VALUE, VALUE, value_of

__all__ = ["NO_VALUE", "VALUE", "has_reason", "value_column", "value_of"]


def value_column() -> InstrumentedAttribute[int]:
    """What `value_of` said when the picture arrived; an index keeps the queue in this order."""
    return Image.value


def has_reason(reason: str) -> ColumnElement[bool]:
    """Pictures that were kept for this reason, among others perhaps."""
    # As text, since SQLite and PostgreSQL share no operator on lists in JSON.
    return cast(Image.hard_reasons, Text).contains(f'"{reason}"', autoescape=True)

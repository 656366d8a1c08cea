"""Tables beside a picture's own row: what it looks like, and how two reviewers agreed on it."""

from datetime import datetime
from typing import Any

from sqlalchemy import Identity, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from cloud.db.types import Base, BigId


class Likeness(Base):
    """What a stored picture looks like in a kilobyte, taken when it arrives.

    No foreign key: retention may drop pictures while others of the group stay.
    """

    __tablename__ = "likenesses"
    __table_args__ = (
        Index("ix_likenesses_cell", "cell", "view", "created_at"),
        Index("ix_likenesses_group", "group_id"),
    )

    image_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    cell: Mapped[str] = mapped_column(String(131))
    view: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    picture_print: Mapped[bytes]
    """Of `models.detector.near_duplicates`."""
    group_id: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the first of the pictures that look like this one; its own when it is new."""


class Agreement(Base):
    """How the second look at a picture compared with the first."""

    __tablename__ = "agreements"
    __table_args__ = (
        Index("ix_agreements_image", "image_sha256"),
        Index("ix_agreements_created", "created_at"),
    )

    id: Mapped[int] = mapped_column(BigId, Identity(), primary_key=True)
    image_sha256: Mapped[str] = mapped_column(String(64))
    first_revision: Mapped[int]
    second_revision: Mapped[int]
    first_reviewer: Mapped[str] = mapped_column(String(64))
    second_reviewer: Mapped[str] = mapped_column(String(64))
    is_agreed: Mapped[bool]
    mean_iou: Mapped[float | None]
    """Over the boxes that both drew; None where there was none."""
    pairs: Mapped[list[Any]]
    """What each called the same thing, ``[first, second]``; empty text: did not mark it."""
    created_at: Mapped[datetime]

"""What is counted while rows arrive, so that a figure over years need not read the rows."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from cloud.db.types import Base


class Tally(Base):
    """How often something happened at a cell in one stretch of time; `cloud.tallies` says what.

    Each thing is counted in stretches of every length of `cloud.tallies.SPANS_S`.
    """

    __tablename__ = "tallies"
    __table_args__ = (Index("ix_tallies_span", "span_s", "kind", "start_s"),)

    span_s: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    cell: Mapped[str] = mapped_column(String(131), primary_key=True)
    start_s: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Beginning of the stretch in seconds since 1970; a multiple of ``span_s``."""
    recipe_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Empty where a thing belongs to no recipe."""
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    detail: Mapped[str] = mapped_column(String(64), primary_key=True)
    n: Mapped[int]


class BootCount(Base):
    """What arrived of the records that one boot of a cell numbered."""

    __tablename__ = "boot_counts"

    cell: Mapped[str] = mapped_column(String(131), primary_key=True)
    boot_id: Mapped[UUID] = mapped_column(primary_key=True)
    num_records: Mapped[int]
    last_seq: Mapped[int]


class HardMark(Base):
    """One hard reason of one result, apart from it so that lists need not search JSON."""

    __tablename__ = "hard_marks"
    __table_args__ = (
        Index("ix_hard_marks_reason", "reason", "created_at"),
        Index("ix_hard_marks_cell", "cell", "reason", "created_at"),
        Index("ix_hard_marks_created", "created_at"),
    )

    cell: Mapped[str] = mapped_column(String(131), primary_key=True)
    boot_id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    reason: Mapped[str] = mapped_column(String(24), primary_key=True)
    created_at: Mapped[datetime]

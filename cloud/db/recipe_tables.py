"""Recipes that were sent to cells, and operating points that people propose for them."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Identity, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cloud.db.types import Base, BigId


class ProposalState(StrEnum):
    """What became of a proposal; the last two are final."""

    OPEN = "open"
    ACCEPTED = "accepted"
    """It stands in the recipe now."""
    DECLINED = "declined"


class RecipeProposal(Base):
    """Scores from which categories should count, with what the locked set says about them."""

    __tablename__ = "recipe_proposals"

    id: Mapped[int] = mapped_column(BigId, Identity(), primary_key=True)
    release: Mapped[int]
    """Whose curves it was read off."""
    recipe_id: Mapped[str | None] = mapped_column(String(64))
    thresholds: Mapped[dict[str, Any]]
    """By category; only those that differ from the release's own."""
    expected: Mapped[dict[str, Any]]
    """By category: recall, precision and number of boxes at that score."""
    note: Mapped[str] = mapped_column(Text)
    state: Mapped[ProposalState] = mapped_column(index=True)
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(64))
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str | None] = mapped_column(String(64))


class PushedRecipe(Base):
    """A version of a recipe that a cell was sent; never changed afterwards."""

    __tablename__ = "pushed_recipes"
    __table_args__ = (UniqueConstraint("cell", "recipe_id", "version"),)

    id: Mapped[int] = mapped_column(BigId, Identity(), primary_key=True)
    cell: Mapped[str] = mapped_column(String(131))
    recipe_id: Mapped[str] = mapped_column(String(64))
    version: Mapped[int]
    recipe: Mapped[dict[str, Any]]
    issued_at: Mapped[datetime]
    issued_by: Mapped[str] = mapped_column(String(64))

"""Operating points that people propose for a recipe."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Identity, String, Text
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

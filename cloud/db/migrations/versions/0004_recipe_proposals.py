"""Proposals for recipes, and how each picture was exposed.

Revision: 0004
Follows: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add a table, and two columns that older records leave empty."""
    op.create_table(
        "recipe_proposals",
        sa.Column("id", _KEY, sa.Identity(always=False), nullable=False),
        sa.Column("release", sa.BigInteger(), nullable=False),
        sa.Column("recipe_id", sa.String(length=64), nullable=True),
        sa.Column("thresholds", _JSON, nullable=False),
        sa.Column("expected", _JSON, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("decided_at", _MOMENT, nullable=True),
        sa.Column("decided_by", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_recipe_proposals"),
    )
    op.create_index("ix_recipe_proposals_state", "recipe_proposals", ["state"])
    for name in ("mean_grey", "sharpness"):
        op.add_column("results", sa.Column(name, sa.Double(), nullable=True))


def downgrade() -> None:
    """Drop them."""
    for name in ("sharpness", "mean_grey"):
        op.drop_column("results", name)
    op.drop_table("recipe_proposals")

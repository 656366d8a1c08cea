"""Recipes that were sent to cells.

Revision: 0005
Follows: 0004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    """Add a table."""
    op.create_table(
        "pushed_recipes",
        sa.Column("id", _KEY, sa.Identity(always=False), nullable=False),
        sa.Column("cell", sa.String(length=131), nullable=False),
        sa.Column("recipe_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("recipe", _JSON, nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("issued_by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pushed_recipes"),
        sa.UniqueConstraint("cell", "recipe_id", "version", name="uq_pushed_recipes_cell"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("pushed_recipes")

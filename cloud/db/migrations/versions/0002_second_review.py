"""What pictures look like, and how two reviewers agreed.

Revision: 0002
Follows: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables beside the pictures."""
    op.create_table(
        "likenesses",
        sa.Column("image_sha256", sa.String(length=64), nullable=False),
        sa.Column("cell", sa.String(length=131), nullable=False),
        sa.Column("view", sa.String(length=64), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("picture_print", sa.LargeBinary(), nullable=False),
        sa.Column("group_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("image_sha256", name="pk_likenesses"),
    )
    op.create_index("ix_likenesses_cell", "likenesses", ["cell", "view", "created_at"])
    op.create_index("ix_likenesses_group", "likenesses", ["group_id"])

    op.create_table(
        "agreements",
        sa.Column("id", _KEY, sa.Identity(always=False), nullable=False),
        sa.Column("image_sha256", sa.String(length=64), nullable=False),
        sa.Column("first_revision", sa.BigInteger(), nullable=False),
        sa.Column("second_revision", sa.BigInteger(), nullable=False),
        sa.Column("first_reviewer", sa.String(length=64), nullable=False),
        sa.Column("second_reviewer", sa.String(length=64), nullable=False),
        sa.Column("is_agreed", sa.Boolean(), nullable=False),
        sa.Column("mean_iou", sa.Double(), nullable=True),
        sa.Column("pairs", _JSON, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_agreements"),
    )
    op.create_index("ix_agreements_image", "agreements", ["image_sha256"])
    op.create_index("ix_agreements_created", "agreements", ["created_at"])


def downgrade() -> None:
    """Drop them; pictures that wait for a second look wait for a first one again."""
    for status in ("second_look", "disputed"):
        op.execute(f"UPDATE images SET status = 'pending' WHERE status = '{status}'")  # noqa: S608
    op.drop_table("agreements")
    op.drop_table("likenesses")

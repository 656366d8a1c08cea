"""Counts kept while rows arrive, and indexes for lists over millions of rows.

Revision: 0003
Follows: 0002
"""

import sqlalchemy as sa
from alembic import op

from cloud.db.recount import recount

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_REJECTS = sa.text("verdict <> 'ok'")
_NEW_INDEXES = (
    ("ix_findings_cell_category", "findings", ["cell", "category", "created_at"]),
    ("ix_findings_cell_code", "findings", ["cell", "code", "created_at"]),
    ("ix_findings_code", "findings", ["code", "created_at"]),
    ("ix_images_created", "images", ["created_at"]),
    ("ix_images_value", "images", ["status", "value", "created_at", "sha256"]),
    ("ix_audit_log_actor", "audit_log", ["actor", "id"]),
    ("ix_audit_log_action", "audit_log", ["action", "id"]),
)


def _make_tables() -> None:
    op.create_table(
        "tallies",
        sa.Column("span_s", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("cell", sa.String(length=131), nullable=False),
        sa.Column("start_s", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("recipe_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.String(length=64), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "span_s", "kind", "cell", "start_s", "recipe_id", "name", "detail", name="pk_tallies"
        ),
    )
    op.create_index("ix_tallies_span", "tallies", ["span_s", "kind", "start_s"])
    op.create_table(
        "boot_counts",
        sa.Column("cell", sa.String(length=131), nullable=False),
        sa.Column("boot_id", sa.Uuid(), nullable=False),
        sa.Column("num_records", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("cell", "boot_id", name="pk_boot_counts"),
    )
    op.create_table(
        "hard_marks",
        sa.Column("cell", sa.String(length=131), nullable=False),
        sa.Column("boot_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reason", sa.String(length=24), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("cell", "boot_id", "seq", "reason", name="pk_hard_marks"),
    )
    op.create_index("ix_hard_marks_cell", "hard_marks", ["cell", "reason", "created_at"])
    op.create_index("ix_hard_marks_created", "hard_marks", ["created_at"])
    op.create_index("ix_hard_marks_reason", "hard_marks", ["reason", "created_at"])


def upgrade() -> None:
    """Make the tables, count what is there, and exchange indexes."""
    _make_tables()
    op.add_column(
        "results", sa.Column("is_first", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.add_column(
        "images", sa.Column("value", sa.Integer(), server_default=sa.text("4"), nullable=False)
    )
    _set_value()
    recount(op.get_bind())
    op.drop_index("ix_results_verdict", "results")
    for name, columns in (
        ("ix_results_rejects", ["verdict", "created_at", "id"]),
        ("ix_results_cell_rejects", ["cell", "verdict", "created_at", "id"]),
    ):
        op.create_index(name, "results", columns, postgresql_where=_REJECTS, sqlite_where=_REJECTS)
    op.create_index(
        "uq_results_first",
        "results",
        ["part_id", "cell"],
        unique=True,
        postgresql_where=sa.text("is_first"),
        sqlite_where=sa.text("is_first = 1"),
    )
    for name, table, columns in _NEW_INDEXES:
        op.create_index(name, table, columns)


def _set_value() -> None:
    words = ("contradiction",), (
        "weak_expected", "novelty", "uncertain", "shadow_disagreement", "flip_disagreement",
        "low_score_under_ok",
    ), ("reject",), ("audit",)  # fmt: skip
    cases = " ".join(
        f"WHEN CAST(hard_reasons AS TEXT) LIKE :{word} THEN {value}"
        for value, group in enumerate(words)
        for word in group
    )
    statement = sa.text(f"UPDATE images SET value = CASE {cases} ELSE 4 END")  # noqa: S608
    patterns = {word: f'%"{word}"%' for group in words for word in group}
    op.get_bind().execute(statement, patterns)


def downgrade() -> None:
    """Drop the counts: the rows that they were made of are all there."""
    for name, table, _ in _NEW_INDEXES:
        op.drop_index(name, table)
    for name in ("uq_results_first", "ix_results_cell_rejects", "ix_results_rejects"):
        op.drop_index(name, "results")
    op.create_index("ix_results_verdict", "results", ["verdict", "created_at", "id"])
    op.drop_column("results", "is_first")
    op.drop_column("images", "value")
    op.drop_table("hard_marks")
    op.drop_table("boot_counts")
    op.drop_table("tallies")

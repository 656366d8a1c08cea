"""First tables.

Revision: 0001
Follows: nothing
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
_MOMENT = sa.DateTime(timezone=True)
_WORD = sa.String(length=24)  # a member of an enumeration, kept as text

_REFUSE_SQLITE = """
CREATE TRIGGER audit_log_no_{event} BEFORE {event} ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END
"""
_REFUSE_POSTGRESQL = """
CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()
"""


def _make_audit_log_append_only() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(_REFUSE_SQLITE.format(event=event))
    else:
        op.execute(_REFUSE_POSTGRESQL)


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "audit_log",
        sa.Column("id", _KEY, sa.Identity(always=False), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("details", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_log"),
    )
    op.create_index("ix_audit_log_at", "audit_log", ["at"])

    op.create_table(
        "categories",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("kind", _WORD, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_categories"),
    )
    op.create_table(
        "cells",
        sa.Column("cell", sa.String(length=131), nullable=False),
        sa.Column("first_seen_at", _MOMENT, nullable=False),
        sa.Column("status", _JSON, nullable=True),
        sa.Column("status_at", _MOMENT, nullable=True),
        sa.Column("reported", _JSON, nullable=True),
        sa.Column("reported_at", _MOMENT, nullable=True),
        sa.Column("mode", _WORD, nullable=False),
        sa.Column("pinned_release", sa.BigInteger(), nullable=True),
        sa.Column("desired", _JSON, nullable=True),
        sa.Column("desired_at", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("cell", name="pk_cells"),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", _KEY, sa.Identity(always=False), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("cell", sa.String(length=131), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_dead_letters"),
        sa.UniqueConstraint("digest", name="uq_dead_letters_digest"),
    )
    op.create_index("ix_dead_letters_received", "dead_letters", ["received_at"])

    op.create_table(
        "findings",
        sa.Column("cell", sa.String(length=131), nullable=False),
        sa.Column("boot_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("code", _WORD, nullable=False),
        sa.Column("category", sa.String(length=64), nullable=True),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("cell", "boot_id", "seq", "position", name="pk_findings"),
    )
    op.create_index("ix_findings_category", "findings", ["category", "created_at"])
    op.create_index("ix_findings_created", "findings", ["created_at"])

    op.create_table(
        "images",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("content_type", sa.String(length=32), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.Column("width_px", sa.Integer(), nullable=False),
        sa.Column("height_px", sa.Integer(), nullable=False),
        sa.Column("cell", sa.String(length=131), nullable=False),
        sa.Column("boot_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.Column("result_id", sa.Uuid(), nullable=False),
        sa.Column("part_id", sa.String(length=64), nullable=False),
        sa.Column("view", sa.String(length=64), nullable=False),
        sa.Column("hard_reasons", _JSON, nullable=False),
        sa.Column("status", _WORD, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("reviewer", sa.String(length=64), nullable=True),
        sa.Column("reviewed_at", _MOMENT, nullable=True),
        sa.Column("snapshot_id", sa.String(length=16), nullable=True),
        sa.PrimaryKeyConstraint("sha256", name="pk_images"),
    )
    op.create_index("ix_images_cell", "images", ["cell", "created_at"])
    op.create_index("ix_images_part", "images", ["part_id"])
    op.create_index("ix_images_queue", "images", ["status", "created_at", "sha256"])
    op.create_index("ix_images_result", "images", ["result_id"])

    op.create_table(
        "results",
        sa.Column("id", _KEY, sa.Identity(always=False), nullable=False),
        sa.Column("cell", sa.String(length=131), nullable=False),
        sa.Column("boot_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.Column("result_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("trigger_id", sa.String(length=64), nullable=False),
        sa.Column("part_id", sa.String(length=64), nullable=False),
        sa.Column("view", sa.String(length=64), nullable=False),
        sa.Column("verdict", _WORD, nullable=False),
        sa.Column("is_partial", sa.Boolean(), nullable=False),
        sa.Column("result_state", _WORD, nullable=False),
        sa.Column("reasons", _JSON, nullable=False),
        sa.Column("detections", _JSON, nullable=False),
        sa.Column("recipe_id", sa.String(length=64), nullable=False),
        sa.Column("recipe_version", sa.BigInteger(), nullable=False),
        sa.Column("release", sa.BigInteger(), nullable=True),
        sa.Column("bundle_id", sa.String(length=16), nullable=True),
        sa.Column("model_name", sa.String(length=64), nullable=True),
        sa.Column("processing_ms", sa.Double(), nullable=False),
        sa.Column("inference_ms", sa.Double(), nullable=False),
        sa.Column("image_width_px", sa.Integer(), nullable=False),
        sa.Column("image_height_px", sa.Integer(), nullable=False),
        sa.Column("image_sha256", sa.String(length=64), nullable=True),
        sa.Column("hard_reasons", _JSON, nullable=False),
        sa.Column("is_simulated", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_results"),
        sa.UniqueConstraint("cell", "boot_id", "seq", name="uq_results_cell"),
    )
    op.create_index("ix_results_cell", "results", ["cell", "created_at", "id"])
    op.create_index("ix_results_created", "results", ["created_at", "id"])
    op.create_index("ix_results_part", "results", ["part_id", "created_at"])
    op.create_index("ix_results_result", "results", ["result_id"])
    op.create_index("ix_results_verdict", "results", ["verdict", "created_at", "id"])

    op.create_table(
        "snapshots",
        sa.Column("snapshot_id", sa.String(length=16), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("parent", sa.String(length=16), nullable=True),
        sa.Column("manifest", _JSON, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["parent"], ["snapshots.snapshot_id"], name="fk_snapshots_parent"),
        sa.PrimaryKeyConstraint("snapshot_id", name="pk_snapshots"),
    )
    op.create_index("ix_snapshots_created_at", "snapshots", ["created_at"])

    op.create_table(
        "station_events",
        sa.Column("cell", sa.String(length=131), nullable=False),
        sa.Column("boot_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("station_state", sa.String(length=32), nullable=True),
        sa.Column("release", sa.BigInteger(), nullable=True),
        sa.Column("bundle_id", sa.String(length=16), nullable=True),
        sa.PrimaryKeyConstraint("cell", "boot_id", "seq", name="pk_station_events"),
    )
    op.create_index("ix_station_events_cell", "station_events", ["cell", "created_at"])

    op.create_table(
        "truths",
        sa.Column("cell", sa.String(length=131), nullable=False),
        sa.Column("boot_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.Column("part_id", sa.String(length=64), nullable=False),
        sa.Column("actual", _WORD, nullable=False),
        sa.Column("said", _WORD, nullable=True),
        sa.Column("result_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("cell", "boot_id", "seq", name="pk_truths"),
    )
    op.create_index("ix_truths_created", "truths", ["created_at"])
    op.create_index("ix_truths_part", "truths", ["part_id"])

    op.create_table(
        "users",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("role", _WORD, nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_users"),
    )
    op.create_table(
        "annotations",
        sa.Column("image_sha256", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("decision", _WORD, nullable=False),
        sa.Column("boxes", _JSON, nullable=False),
        sa.Column("reviewer", sa.String(length=64), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["image_sha256"], ["images.sha256"], name="fk_annotations_image_sha256"
        ),
        sa.PrimaryKeyConstraint("image_sha256", "revision", name="pk_annotations"),
    )
    op.create_index("ix_annotations_created_at", "annotations", ["created_at"])

    op.create_table(
        "tokens",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("user_name", sa.String(length=64), nullable=False),
        sa.Column("kind", _WORD, nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["user_name"], ["users.name"], name="fk_tokens_user_name", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_hash", name="pk_tokens"),
    )
    op.create_index("ix_tokens_user_name", "tokens", ["user_name"])

    op.create_table(
        "training_runs",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("state", _WORD, nullable=False),
        sa.Column("trigger", sa.String(length=32), nullable=False),
        sa.Column("requested_by", sa.String(length=64), nullable=False),
        sa.Column("snapshot_id", sa.String(length=16), nullable=True),
        sa.Column("init_bundle_id", sa.String(length=16), nullable=True),
        sa.Column("compared_bundle_id", sa.String(length=16), nullable=True),
        sa.Column("directory", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("parameters", _JSON, nullable=True),
        sa.Column("progress", _JSON, nullable=True),
        sa.Column("report", _JSON, nullable=True),
        sa.Column("gates", _JSON, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("release", sa.BigInteger(), nullable=True),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("started_at", _MOMENT, nullable=True),
        sa.Column("finished_at", _MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["snapshot_id"], ["snapshots.snapshot_id"], name="fk_training_runs_snapshot_id"
        ),
        sa.PrimaryKeyConstraint("run_id", name="pk_training_runs"),
    )
    op.create_index("ix_training_runs_created_at", "training_runs", ["created_at"])
    op.create_index("ix_training_runs_state", "training_runs", ["state"])

    op.create_table(
        "releases",
        sa.Column("release", _KEY, sa.Identity(always=False), nullable=False),
        sa.Column("bundle_id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("state", _WORD, nullable=False),
        sa.Column("origin", sa.String(length=32), nullable=False),
        sa.Column("bundle_dir", sa.Text(), nullable=False),
        sa.Column("target_path", sa.Text(), nullable=True),
        sa.Column("metrics", _JSON, nullable=False),
        sa.Column("lineage", _JSON, nullable=False),
        sa.Column("categories", _JSON, nullable=False),
        sa.Column("thresholds", _JSON, nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=True),
        sa.Column("rollback_of", sa.BigInteger(), nullable=True),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("approved_at", _MOMENT, nullable=True),
        sa.Column("approved_by", sa.String(length=64), nullable=True),
        sa.Column("withdrawn_at", _MOMENT, nullable=True),
        sa.Column("withdrawn_by", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["training_runs.run_id"], name="fk_releases_run_id"),
        sa.PrimaryKeyConstraint("release", name="pk_releases"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_releases_bundle_id", "releases", ["bundle_id"])

    op.create_table(
        "rollouts",
        sa.Column("rollout_id", sa.String(length=64), nullable=False),
        sa.Column("release", _KEY, nullable=False),
        sa.Column("state", _WORD, nullable=False),
        sa.Column("waves", _JSON, nullable=False),
        sa.Column("wave", sa.Integer(), nullable=False),
        sa.Column("wave_started_at", _MOMENT, nullable=True),
        sa.Column("canary_parts", sa.Integer(), nullable=False),
        sa.Column("shadow_parts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("finished_at", _MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["release"], ["releases.release"], name="fk_rollouts_release"),
        sa.PrimaryKeyConstraint("rollout_id", name="pk_rollouts"),
    )
    op.create_index("ix_rollouts_created_at", "rollouts", ["created_at"])
    op.create_index("ix_rollouts_state", "rollouts", ["state"])

    op.create_table(
        "rollout_cells",
        sa.Column("rollout_id", sa.String(length=64), nullable=False),
        sa.Column("cell", sa.String(length=131), nullable=False),
        sa.Column("wave", sa.Integer(), nullable=False),
        sa.Column("phase", _WORD, nullable=False),
        sa.Column("reported_phase", sa.String(length=32), nullable=True),
        sa.Column("from_release", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("updated_at", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["cell"], ["cells.cell"], name="fk_rollout_cells_cell"),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["rollouts.rollout_id"], name="fk_rollout_cells_rollout_id"
        ),
        sa.PrimaryKeyConstraint("rollout_id", "cell", name="pk_rollout_cells"),
    )
    _make_audit_log_append_only()


def downgrade() -> None:
    """Drop every table."""
    op.drop_table("rollout_cells")
    op.drop_table("rollouts")
    op.drop_table("releases")
    op.drop_table("training_runs")
    op.drop_table("tokens")
    op.drop_table("annotations")
    op.drop_table("users")
    op.drop_table("truths")
    op.drop_table("station_events")
    op.drop_table("snapshots")
    op.drop_table("results")
    op.drop_table("images")
    op.drop_table("findings")
    op.drop_table("dead_letters")
    op.drop_table("cells")
    op.drop_table("categories")
    op.drop_table("audit_log")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION refuse_audit_change()")

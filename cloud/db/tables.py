"""Every table: what cells sent, what people said about it, what was learned and where it runs."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ForeignKey,
    Identity,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import Mapped, mapped_column

from cloud.db import count_tables, recipe_tables, review_tables  # noqa: F401 - parts of one database
from cloud.db.types import Base, BigId
from cloud.picture_value import value_of
from models.contract.bundle import CategoryKind
from models.contract.messages import FollowMode, ReasonCode, ResultState, Verdict

CELL_PATH = String(131)
IDENTIFIER = String(64)
SHA256 = String(64)
BUNDLE_ID = String(16)
SNAPSHOT_ID = String(16)
RUN_ID = String(32)
PERSON = String(64)


def _where(condition: str) -> dict[str, Any]:
    """Arguments that make an index one over these rows only, on either database."""
    # SQLite takes a partial index only where a query says the condition in the same words.
    plain = f"{condition} = 1" if condition == "is_first" else condition
    return {"postgresql_where": text(condition), "sqlite_where": text(plain)}


def _value_of(context: DefaultExecutionContext) -> int:
    parameters: dict[str, Any] = context.get_current_parameters()  # type: ignore[no-untyped-call]
    return value_of(parameters["hard_reasons"])


class ReviewStatus(StrEnum):
    """What people have done with a picture; only ``labelled`` and ``rejected`` count."""

    PENDING = "pending"
    SECOND_LOOK = "second_look"
    """Somebody has labelled it; the policy wants somebody else's look too."""
    DISPUTED = "disputed"
    """Two looks disagree: an arbiter decides."""
    LABELLED = "labelled"
    REJECTED = "rejected"


class RunState(StrEnum):
    """How far a retraining is; the last four are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    """It trained well enough to finish, but a gate said no."""
    FAILED = "failed"
    CANCELLED = "cancelled"


class ReleaseState(StrEnum):
    """Life of a release in the registry."""

    CANDIDATE = "candidate"
    APPROVED = "approved"
    ROLLED_OUT = "rolled_out"
    WITHDRAWN = "withdrawn"


class RolloutState(StrEnum):
    """How a rollout stands; the last three are final."""

    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    STOPPED = "stopped"
    """Too many cells failed or took too long."""
    SUPERSEDED = "superseded"


class RolloutPhase(StrEnum):
    """Where one cell stands in a rollout."""

    WAITING = "waiting"
    SENT = "sent"
    ACTIVE = "active"
    FAILED = "failed"
    SKIPPED = "skipped"


class Role(StrEnum):
    """What a person may do, from least to most."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    QUALITY = "quality"
    CONTROLS = "controls"
    ML = "ml"
    ADMIN = "admin"


class TokenKind(StrEnum):
    """Whether a token is a program's or a browser's."""

    API = "api"
    SESSION = "session"


# --- what cells sent -------------------------------------------------------------------------


class Cell(Base):
    """A cell that was heard of; its last state and what it should run."""

    __tablename__ = "cells"

    cell: Mapped[str] = mapped_column(CELL_PATH, primary_key=True)
    first_seen_at: Mapped[datetime]
    status: Mapped[dict[str, Any] | None]
    """Last `StationStatus`."""
    status_at: Mapped[datetime | None]
    reported: Mapped[dict[str, Any] | None]
    """Last `Reported`."""
    reported_at: Mapped[datetime | None]
    mode: Mapped[FollowMode] = mapped_column(default=FollowMode.FOLLOW)
    pinned_release: Mapped[int | None]
    desired: Mapped[dict[str, Any] | None]
    """Last `DesiredModel` that was published for it."""
    desired_at: Mapped[datetime | None]


class Result(Base):
    """One inspection, as the cell recorded it; (cell, boot_id, seq) makes it unique."""

    __tablename__ = "results"
    __table_args__ = (
        UniqueConstraint("cell", "boot_id", "seq"),
        Index("ix_results_created", "created_at", "id"),
        Index("ix_results_cell", "cell", "created_at", "id"),
        # Good parts need none of their own: most of the rows of the others are theirs.
        Index("ix_results_rejects", "verdict", "created_at", "id", **_where("verdict <> 'ok'")),
        Index(
            "ix_results_cell_rejects", "cell", "verdict", "created_at", "id",
            **_where("verdict <> 'ok'"),
        ),
        Index("uq_results_first", "part_id", "cell", unique=True, **_where("is_first")),
        Index("ix_results_part", "part_id", "created_at"),
        Index("ix_results_result", "result_id"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(BigId, Identity(), primary_key=True)
    """Order of arrival; tie-break of cursors."""
    cell: Mapped[str] = mapped_column(CELL_PATH)
    boot_id: Mapped[UUID]
    seq: Mapped[int]
    created_at: Mapped[datetime]
    received_at: Mapped[datetime]
    result_id: Mapped[UUID]
    job_id: Mapped[UUID]
    trigger_id: Mapped[str] = mapped_column(IDENTIFIER)
    part_id: Mapped[str] = mapped_column(IDENTIFIER)
    view: Mapped[str] = mapped_column(IDENTIFIER)
    verdict: Mapped[Verdict]
    is_partial: Mapped[bool]
    result_state: Mapped[ResultState]
    reasons: Mapped[list[Any]]
    """Each a `Reason`."""
    detections: Mapped[list[Any]]
    """Each a `DetectionRecord`: category, score, bbox [x, y, width, height] px."""
    recipe_id: Mapped[str] = mapped_column(IDENTIFIER)
    recipe_version: Mapped[int]
    release: Mapped[int | None]
    bundle_id: Mapped[str | None] = mapped_column(BUNDLE_ID)
    model_name: Mapped[str | None] = mapped_column(IDENTIFIER)
    processing_ms: Mapped[float]
    inference_ms: Mapped[float]
    image_width_px: Mapped[int] = mapped_column(Integer)
    image_height_px: Mapped[int] = mapped_column(Integer)
    image_sha256: Mapped[str | None] = mapped_column(SHA256)
    mean_grey: Mapped[float | None]
    """Brightness of the picture, 0 to 255; None: the cell did not say."""
    sharpness: Mapped[float | None]
    """Variance of the Laplacian in the picture's middle."""
    hard_reasons: Mapped[list[str]]
    is_simulated: Mapped[bool]
    is_first: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether it is the first joined result of its part at its cell: first-pass yield counts it."""


class Finding(Base):
    """One reason of one result, apart from it so that Pareto and filters need no JSON."""

    __tablename__ = "findings"
    __table_args__ = (
        Index("ix_findings_category", "category", "created_at"),
        Index("ix_findings_cell_category", "cell", "category", "created_at"),
        Index("ix_findings_code", "code", "created_at"),
        Index("ix_findings_cell_code", "cell", "code", "created_at"),
        Index("ix_findings_created", "created_at"),
    )

    cell: Mapped[str] = mapped_column(CELL_PATH, primary_key=True)
    boot_id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    code: Mapped[ReasonCode]
    category: Mapped[str | None] = mapped_column(IDENTIFIER)
    created_at: Mapped[datetime]


class Truth(Base):
    """What a part really was, found out downstream."""

    __tablename__ = "truths"
    __table_args__ = (Index("ix_truths_part", "part_id"), Index("ix_truths_created", "created_at"))

    cell: Mapped[str] = mapped_column(CELL_PATH, primary_key=True)
    boot_id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    created_at: Mapped[datetime]
    received_at: Mapped[datetime]
    part_id: Mapped[str] = mapped_column(IDENTIFIER)
    actual: Mapped[Verdict]
    said: Mapped[Verdict | None]
    result_id: Mapped[UUID | None]


class StationLogEntry(Base):
    """An alarm, or a change of state, model or recipe."""

    __tablename__ = "station_events"
    __table_args__ = (Index("ix_station_events_cell", "cell", "created_at"),)

    cell: Mapped[str] = mapped_column(CELL_PATH, primary_key=True)
    boot_id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    created_at: Mapped[datetime]
    received_at: Mapped[datetime]
    code: Mapped[str] = mapped_column(IDENTIFIER)
    text: Mapped[str] = mapped_column(Text)
    station_state: Mapped[str | None] = mapped_column(String(32))
    release: Mapped[int | None]
    bundle_id: Mapped[str | None] = mapped_column(BUNDLE_ID)


class DeadLetter(Base):
    """A message that can never be taken, kept with the reason."""

    __tablename__ = "dead_letters"
    __table_args__ = (Index("ix_dead_letters_received", "received_at"),)

    id: Mapped[int] = mapped_column(BigId, Identity(), primary_key=True)
    digest: Mapped[str] = mapped_column(SHA256, unique=True)
    """Of topic and payload: the same message twice is one row."""
    received_at: Mapped[datetime]
    topic: Mapped[str] = mapped_column(Text)
    cell: Mapped[str | None] = mapped_column(CELL_PATH)
    reason: Mapped[str] = mapped_column(Text)
    num_bytes: Mapped[int]
    payload: Mapped[bytes]
    """Its beginning; enough to see what it was."""


class Image(Base):
    """A stored picture, its origin, and what people said about it."""

    __tablename__ = "images"
    __table_args__ = (
        Index("ix_images_queue", "status", "created_at", "sha256"),
        Index("ix_images_value", "status", "value", "created_at", "sha256"),
        Index("ix_images_created", "created_at"),
        Index("ix_images_cell", "cell", "created_at"),
        Index("ix_images_part", "part_id"),
        Index("ix_images_result", "result_id"),
    )

    sha256: Mapped[str] = mapped_column(SHA256, primary_key=True)
    content_type: Mapped[str] = mapped_column(String(32))
    num_bytes: Mapped[int]
    width_px: Mapped[int] = mapped_column(Integer)
    height_px: Mapped[int] = mapped_column(Integer)
    cell: Mapped[str] = mapped_column(CELL_PATH)
    boot_id: Mapped[UUID]
    seq: Mapped[int]
    created_at: Mapped[datetime]
    received_at: Mapped[datetime]
    result_id: Mapped[UUID]
    """The record may arrive after its picture, or never: no foreign key."""
    part_id: Mapped[str] = mapped_column(IDENTIFIER)
    view: Mapped[str] = mapped_column(IDENTIFIER)
    hard_reasons: Mapped[list[str]]
    value: Mapped[int] = mapped_column(Integer, default=_value_of, server_default=text("4"))
    """What a person's look at it is worth, lower is more: `cloud.picture_value`."""
    status: Mapped[ReviewStatus] = mapped_column(default=ReviewStatus.PENDING)
    revision: Mapped[int] = mapped_column(Integer, default=0)
    """Revision of the annotation in force; 0: none."""
    reviewer: Mapped[str | None] = mapped_column(PERSON)
    reviewed_at: Mapped[datetime | None]
    snapshot_id: Mapped[str | None] = mapped_column(SNAPSHOT_ID)
    """First snapshot that the annotation in force went into; None: it is in none yet."""


# --- what people said ------------------------------------------------------------------------


class CategoryRow(Base):
    """A class that reviewers may draw; its order is that of the label map."""

    __tablename__ = "categories"

    name: Mapped[str] = mapped_column(IDENTIFIER, primary_key=True)
    kind: Mapped[CategoryKind]
    position: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(PERSON)


class Annotation(Base):
    """One revision of the label of a picture; a change is a new row."""

    __tablename__ = "annotations"

    image_sha256: Mapped[str] = mapped_column(ForeignKey("images.sha256"), primary_key=True)
    revision: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    decision: Mapped[ReviewStatus]
    boxes: Mapped[list[Any]]
    """Each ``{"category": …, "bbox": [x, y, width, height]}`` in pixels."""
    reviewer: Mapped[str] = mapped_column(PERSON)
    created_at: Mapped[datetime] = mapped_column(index=True)


# --- what was learned ------------------------------------------------------------------------


class Snapshot(Base):
    """An immutable dataset that Spark reads from its URL."""

    __tablename__ = "snapshots"

    snapshot_id: Mapped[str] = mapped_column(SNAPSHOT_ID, primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    parent: Mapped[str | None] = mapped_column(ForeignKey("snapshots.snapshot_id"))
    manifest: Mapped[dict[str, Any]]
    """`SnapshotManifest`."""
    created_at: Mapped[datetime] = mapped_column(index=True)
    created_by: Mapped[str] = mapped_column(PERSON)


class TrainingRun(Base):
    """One retraining: a process of its own, followed by its progress lines."""

    __tablename__ = "training_runs"

    run_id: Mapped[str] = mapped_column(RUN_ID, primary_key=True)
    state: Mapped[RunState] = mapped_column(index=True)
    trigger: Mapped[str] = mapped_column(String(32))
    """Why it runs: labels, schedule, drift, button."""
    requested_by: Mapped[str] = mapped_column(PERSON)
    snapshot_id: Mapped[str | None] = mapped_column(ForeignKey("snapshots.snapshot_id"))
    """None while the run waits for its snapshot to be built."""
    init_bundle_id: Mapped[str | None] = mapped_column(BUNDLE_ID)
    compared_bundle_id: Mapped[str | None] = mapped_column(BUNDLE_ID)
    directory: Mapped[str] = mapped_column(Text)
    pid: Mapped[int | None] = mapped_column(Integer)
    parameters: Mapped[dict[str, Any] | None]
    progress: Mapped[dict[str, Any] | None]
    """Last progress line of ``sightline-train --json``."""
    report: Mapped[dict[str, Any] | None]
    gates: Mapped[list[Any] | None]
    """Each ``{"name", "passed", "value", "limit", "text"}``; value and limit may be null."""
    error: Mapped[str | None] = mapped_column(Text)
    release: Mapped[int | None]
    """The candidate that came of it."""
    created_at: Mapped[datetime] = mapped_column(index=True)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Release(Base):
    """A bundle in the registry under a number that only rises; a rollback is a new number."""

    __tablename__ = "releases"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - SQLAlchemy's form

    release: Mapped[int] = mapped_column(BigId, Identity(), primary_key=True)
    bundle_id: Mapped[str] = mapped_column(BUNDLE_ID, index=True)
    name: Mapped[str] = mapped_column(IDENTIFIER)
    state: Mapped[ReleaseState]
    origin: Mapped[str] = mapped_column(String(32))
    """import, retraining or rollback."""
    bundle_dir: Mapped[str] = mapped_column(Text)
    target_path: Mapped[str | None] = mapped_column(Text)
    """Path in the TUF repository, once it is signed there."""
    metrics: Mapped[dict[str, Any]]
    lineage: Mapped[dict[str, Any]]
    categories: Mapped[list[Any]]
    thresholds: Mapped[dict[str, Any]]
    run_id: Mapped[str | None] = mapped_column(ForeignKey("training_runs.run_id"))
    rollback_of: Mapped[int | None]
    """The release whose bundle this brings back."""
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(PERSON)
    approved_at: Mapped[datetime | None]
    approved_by: Mapped[str | None] = mapped_column(PERSON)
    withdrawn_at: Mapped[datetime | None]
    withdrawn_by: Mapped[str | None] = mapped_column(PERSON)


class Rollout(Base):
    """A release on its way to the cells, wave by wave."""

    __tablename__ = "rollouts"

    rollout_id: Mapped[str] = mapped_column(IDENTIFIER, primary_key=True)
    release: Mapped[int] = mapped_column(ForeignKey("releases.release"))
    state: Mapped[RolloutState] = mapped_column(index=True)
    waves: Mapped[list[Any]]
    """Lists of cells; the first is the canary."""
    wave: Mapped[int] = mapped_column(Integer, default=0)
    """Index of the wave that runs."""
    wave_started_at: Mapped[datetime | None]
    canary_parts: Mapped[int] = mapped_column(Integer)
    shadow_parts: Mapped[int] = mapped_column(Integer)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(index=True)
    created_by: Mapped[str] = mapped_column(PERSON)
    finished_at: Mapped[datetime | None]


class RolloutCell(Base):
    """One cell in a rollout."""

    __tablename__ = "rollout_cells"

    rollout_id: Mapped[str] = mapped_column(ForeignKey("rollouts.rollout_id"), primary_key=True)
    cell: Mapped[str] = mapped_column(ForeignKey("cells.cell"), primary_key=True)
    wave: Mapped[int] = mapped_column(Integer)
    phase: Mapped[RolloutPhase] = mapped_column(default=RolloutPhase.WAITING)
    reported_phase: Mapped[str | None] = mapped_column(String(32))
    """`ModelPhase` that the cell last reported for this rollout."""
    from_release: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(Text)
    updated_at: Mapped[datetime]


# --- who did it ------------------------------------------------------------------------------


class User(Base):
    """A person, or a program with a role of its own."""

    __tablename__ = "users"

    name: Mapped[str] = mapped_column(PERSON, primary_key=True)
    role: Mapped[Role]
    password_hash: Mapped[str | None] = mapped_column(Text)
    """Argon2; None: no password, tokens only."""
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime]


class Token(Base):
    """A bearer token or a browser session; only its hash is kept."""

    __tablename__ = "tokens"

    token_hash: Mapped[str] = mapped_column(SHA256, primary_key=True)
    user_name: Mapped[str] = mapped_column(ForeignKey("users.name", ondelete="CASCADE"), index=True)
    kind: Mapped[TokenKind]
    label: Mapped[str] = mapped_column(IDENTIFIER)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]


class AuditEntry(Base):
    """Who did what to what; the database refuses to change or delete a row."""

    __tablename__ = "audit_log"
    __table_args__ = (
        Index("ix_audit_log_at", "at"),
        Index("ix_audit_log_actor", "actor", "id"),
        Index("ix_audit_log_action", "action", "id"),
    )

    id: Mapped[int] = mapped_column(BigId, Identity(), primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(PERSON)
    action: Mapped[str] = mapped_column(IDENTIFIER)
    """Verb and noun, for instance ``approve release``."""
    subject: Mapped[str] = mapped_column(Text)
    details: Mapped[dict[str, Any]]

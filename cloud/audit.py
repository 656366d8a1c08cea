"""The audit log: who did what to what, written in the same transaction as the deed."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.db.session import Database
from cloud.db.tables import AuditEntry

SYSTEM = "sightline"
"""Who acts when no person does: the policy, the schedule, the rollout controller."""

EXPORTED_AT_ONCE = 1_000


def record(session: Session, actor: str, action: str, subject: object, **details: Any) -> None:  # noqa: ANN401 - whatever JSON takes
    """Note a deed; it stands in the log if and only if the transaction commits.

    Args:
        session: The write transaction of the deed itself.
        actor: Name of the person, or `SYSTEM`.
        action: Verb and noun, for instance ``approve release``.
        subject: What it was done to.
        details: More facts, JSON.
    """
    session.add(
        AuditEntry(
            at=datetime.now(UTC),
            actor=actor,
            action=action,
            subject=str(subject),
            details=details,
        )
    )


def list_entries(
    database: Database,
    *,
    limit: int,
    before: int | None = None,
    actor: str | None = None,
    action: str | None = None,
    subject: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Sequence[AuditEntry]:
    """Newest entries first; ``before`` is the id that the page before ended with."""
    query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditEntry.id < before)
    if actor is not None:
        query = query.where(AuditEntry.actor == actor)
    if action is not None:
        query = query.where(AuditEntry.action == action)
    if subject is not None:
        query = query.where(AuditEntry.subject == subject)
    if since is not None:
        query = query.where(AuditEntry.at >= since)
    if until is not None:
        query = query.where(AuditEntry.at < until)
    with database.read() as session:
        return session.scalars(query).all()


def all_entries(
    database: Database, *, since: datetime | None = None, until: datetime | None = None
) -> Iterator[AuditEntry]:
    """Every entry, newest first, read a piece at a time: the log may be long."""
    query = select(AuditEntry).order_by(AuditEntry.at.desc(), AuditEntry.id.desc())
    if since is not None:
        query = query.where(AuditEntry.at >= since)
    if until is not None:
        query = query.where(AuditEntry.at < until)
    piece = query.limit(EXPORTED_AT_ONCE)
    while True:
        with database.read() as session:
            rows = session.scalars(piece).all()
        yield from rows
        if len(rows) < EXPORTED_AT_ONCE:
            return
        # By time, as its bounds are: by number, each piece would read all the rest to sort it.
        last = rows[-1]
        older = (AuditEntry.at < last.at) | ((AuditEntry.at == last.at) & (AuditEntry.id < last.id))
        piece = query.where(AuditEntry.at <= last.at, older).limit(EXPORTED_AT_ONCE)

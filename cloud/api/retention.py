"""How long each kind of row and picture is kept."""

import threading
from dataclasses import asdict
from datetime import UTC, datetime

from fastapi import APIRouter
from pydantic import BaseModel

from cloud.api.context import Admin, Context, Ctx
from cloud.errors import ConflictError
from cloud.retention import Retention, next_round
from cloud.settings import RetentionSettings

router = APIRouter(prefix="/v1/retention", tags=["admin"])
_AT_WORK = threading.Lock()


class DroppedOut(BaseModel):
    """What a round of retention dropped."""

    results: int
    truths: int
    station_events: int
    dead_letters: int
    pictures: int
    picture_bytes: int


class DueOut(BaseModel):
    """What the next round drops."""

    at: datetime
    kinds: dict[str, int]
    """By the name of the setting; 100,000 stands for that many or more."""


@router.get("")
def get_retention(context: Ctx, _admin: Admin) -> RetentionSettings:
    """Days by kind, as the server's settings have them; 0: for ever."""
    return context.settings.retention


@router.get("/due")
def get_due(context: Ctx, _admin: Admin) -> DueOut:
    """What the next round drops, as far as it is there by now."""
    return due_next(context)


def due_next(context: Context) -> DueOut:
    """What the next round drops, and when that is.

    Raises:
        UnavailableError: the database cannot be read.
    """
    settings = context.settings.retention
    at = next_round(settings, datetime.now(UTC))
    keep = Retention(context.database, context.images, settings, now=lambda: at)
    return DueOut(at=at, kinds=keep.due())


@router.post("/runs", status_code=201)
def apply_retention(context: Ctx, identity: Admin) -> DroppedOut:
    """Drop what is due now instead of at the hour of the settings."""
    return apply_now(context, actor=identity.name)


def apply_now(context: Context, *, actor: str) -> DroppedOut:
    """Drop what is due, one round at a time in this process.

    Raises:
        ConflictError: a round is going on.
    """
    if not _AT_WORK.acquire(blocking=False):
        raise ConflictError("retention is being applied: wait until it is done")
    try:
        keep = Retention(context.database, context.images, context.settings.retention)
        return DroppedOut(**asdict(keep.run(actor=actor)))
    finally:
        _AT_WORK.release()

"""What an administrator looks after: room, backups."""

from fastapi import APIRouter
from pydantic import BaseModel

from cloud.api.context import Admin, Ctx
from cloud.backups import BackupState
from cloud.storage_use import StorageUse, read_storage_use

router = APIRouter(prefix="/v1", tags=["admin"])


class BackupStarted(BaseModel):
    """A backup that is being made."""

    name: str


@router.get("/storage")
def get_storage(context: Ctx, _admin: Admin) -> StorageUse:
    """Room that pictures, database and dead letters take, and what is left."""
    return read_storage_use(context.database, context.images)


@router.get("/backups")
def list_backups(context: Ctx, _admin: Admin) -> BackupState:
    """Complete backups, newest first, and what is being made now."""
    return context.backups.state()


@router.post("/backups", status_code=202)
def make_backup(context: Ctx, identity: Admin) -> BackupStarted:
    """Begin a backup of database, pictures, models and keys; refused while one is being made."""
    return BackupStarted(name=context.backups.start(actor=identity.name))

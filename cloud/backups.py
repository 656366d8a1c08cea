"""Backups that an administrator asks for: one at a time, in a folder of their own."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cloud import audit
from cloud.backup import MANIFEST_NAME, BackupManifest, back_up
from cloud.db.session import Database
from cloud.errors import CloudError, ConflictError
from cloud.settings import Settings

LOGGER = logging.getLogger(__name__)
NAME_FORMAT = "backup-%Y%m%d-%H%M%S"


@dataclass(frozen=True, slots=True)
class BackupInfo:
    """A backup that is complete: its manifest is written last."""

    name: str
    created_at: datetime
    num_rows: int
    num_files: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class BackupState:
    """What is there, what is being made, and why the last one failed."""

    folder: str
    items: tuple[BackupInfo, ...]
    """Newest first."""
    running: str | None
    stage: str
    error: str


class BackupDesk:
    """Makes and lists backups.

    Args:
        settings: What is backed up, and where to.
        database: Holds the audit log.
        now: The wall clock.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._database = database
        self._now = now
        self._lock = threading.Lock()
        self._running: str | None = None
        self._stage = ""
        self._error = ""
        self._known: dict[str, BackupInfo] = {}

    @property
    def folder(self) -> Path:
        """Where backups lie, each in a folder of its own."""
        return self._settings.backup.dir

    def state(self) -> BackupState:
        """What there is now."""
        names = [path.parent.name for path in self.folder.glob(f"*/{MANIFEST_NAME}")]
        items = [info for name in names if (info := self._info(name)) is not None]
        items.sort(key=lambda info: info.created_at, reverse=True)
        return BackupState(str(self.folder), tuple(items), self._running, self._stage, self._error)

    def start(self, *, actor: str) -> str:
        """Begin a backup in a thread of its own; gives its name.

        Raises:
            ConflictError: one is being made.
        """
        with self._lock:
            if self._running is not None:
                raise ConflictError(f"{self._running} is being made: wait until it is done")
            name = self._now().strftime(NAME_FORMAT)
            self._running, self._stage, self._error = name, "begins", ""
        with self._database.write() as session:
            audit.record(session, actor, "make backup", name)
        threading.Thread(target=self._make, args=(name,), name="backup", daemon=True).start()
        return name

    def _make(self, name: str) -> None:
        try:
            back_up(self._settings, self.folder / name, report=self._report)
            LOGGER.info("backup is done", extra={"backup": name})
        except (CloudError, OSError) as error:
            self._error = f"{name}: {error}"
            LOGGER.warning("backup failed", extra={"backup": name, "cause": str(error)})
        finally:
            self._running, self._stage = None, ""

    def _report(self, stage: str) -> None:
        self._stage = stage

    def _info(self, name: str) -> BackupInfo | None:
        if name not in self._known:
            folder = self.folder / name
            try:
                text = (folder / MANIFEST_NAME).read_bytes()
                manifest = BackupManifest.model_validate_json(text)
                num_bytes = sum((folder / file).stat().st_size for file in manifest.files)
            except (OSError, ValueError):
                return None
            self._known[name] = BackupInfo(
                name,
                manifest.created_at,
                sum(manifest.rows.values()),
                len(manifest.files),
                num_bytes,
            )
        return self._known[name]

"""Disk space kept in reserve, for the day on which somebody else has used up the rest.

On a full disk SQLite can neither insert nor delete: an outbox that has to drain could not. This
file is let go then, which gives the records room for hours; pictures do not get any of it. It is
laid by again once the disk has space.
"""

import logging
import os
import shutil
from pathlib import Path

logger = logging.getLogger(__name__)

RETURN_FACTOR = 2
"""The disk must have this many times the ballast free before it is laid by again: no to and fro."""


class Ballast:
    """A file of fixed size beside the outbox; used under the outbox's lock.

    Args:
        path: of the file.
        size_bytes: to keep in reserve; 0: none.
    """

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes

    @property
    def is_there(self) -> bool:
        """Whether there is a reserve now."""
        return self._path.exists()

    def release(self) -> bool:
        """Give the reserve to a full disk; false when there is none, or the disk is not full."""
        try:
            if shutil.disk_usage(self._path.parent).free >= self._size_bytes:
                return False
            self._path.unlink()
        except OSError:
            return False
        logger.error("disk is full: the outbox lives on its reserve")
        return True

    def restore(self) -> bool:
        """Lay the reserve by if the disk has space for it; whether it is there."""
        if self.is_there or self._size_bytes == 0:
            return self.is_there
        part = self._path.with_suffix(".part")
        try:
            if shutil.disk_usage(self._path.parent).free < RETURN_FACTOR * self._size_bytes:
                return False
            with part.open("wb") as stream:
                # Blocks of its own: a sparse file would keep nothing in reserve.
                os.posix_fallocate(stream.fileno(), 0, self._size_bytes)
            part.replace(self._path)
        except OSError:
            part.unlink(missing_ok=True)
            return False
        return True

"""A folder of files named by the hash of what is in them."""

import contextlib
import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path

from edge_agent.errors import StorageError


class BlobFolder:
    """Content-addressed files; writing the same bytes twice makes one file.

    Files are not synced: a picture torn by a power cut is noticed by its hash when it is read.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, sha256: str, data: bytes) -> None:
        """Store bytes under their hash.

        Raises:
            StorageError: the disk does not take them.
        """
        path = self._path(sha256)
        if path.exists():
            return
        part = path.with_suffix(".part")
        try:
            path.parent.mkdir(exist_ok=True)
            part.write_bytes(data)
            part.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise StorageError(f"{path} cannot be written: {error.strerror}") from error

    def read(self, sha256: str) -> bytes:
        """The bytes with that hash.

        Raises:
            StorageError: the file is gone or damaged.
        """
        try:
            data = self._path(sha256).read_bytes()
        except OSError as error:
            raise StorageError(f"picture {sha256} cannot be read: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise StorageError(f"picture {sha256} was damaged on the disk")
        return data

    def remove(self, names: Iterable[str]) -> None:
        """Delete files; one that is gone already does not matter."""
        for sha256 in names:
            with contextlib.suppress(OSError):
                self._path(sha256).unlink()

    def keep_only(self, names: Collection[str]) -> None:
        """Delete every other file: left over when the process died between file and row."""
        for path in self._folder.glob("*/*"):
            if path.name not in names:
                path.unlink(missing_ok=True)

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256

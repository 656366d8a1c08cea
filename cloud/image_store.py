"""Pictures by their SHA-256, in a folder or on any storage that fsspec knows."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
from fsspec.implementations.local import LocalFileSystem

from cloud.errors import ConfigurationError, NotFoundError, StorageFullError, UnavailableError
from cloud.files import sync_folder

_FULL = {errno.ENOSPC, errno.EDQUOT}


class ImageStore:
    """Content-addressed: a picture's name is its hash, so storing it twice changes nothing.

    Layout: ``{first two digits}/{sha256}``.
    """

    def __init__(self, url: str, *, min_free_bytes: int = 0) -> None:
        """Open the storage; a local folder is made when it is not there.

        Raises:
            ConfigurationError: fsspec does not know the URL, or the folder cannot be made.
        """
        try:
            filesystem, root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise ConfigurationError(f"storage.url {url}: {error}") from error
        self._filesystem: Any = filesystem
        self._root: str = root.rstrip("/")
        self._min_free_bytes = min_free_bytes
        self.is_local = isinstance(filesystem, LocalFileSystem)
        if self.is_local:
            try:
                Path(self._root).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigurationError(
                    f"storage.url {url} cannot be made: {error.strerror}"
                ) from error

    def put(self, content: bytes) -> str:
        """Store a picture so that it survives a power cut; gives its SHA-256 in hex.

        Raises:
            StorageFullError: there is no room.
            UnavailableError: the storage does not answer.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        try:
            if self.is_local:
                self._put_local(Path(self._path(sha256)), content)
            else:
                self._filesystem.pipe_file(self._path(sha256), content)
        except OSError as error:
            if error.errno in _FULL:
                raise StorageFullError("the image store is full") from error
            raise UnavailableError(f"the image store cannot be written: {error}") from error
        return sha256

    def _put_local(self, path: Path, content: bytes) -> None:
        if path.exists():
            return
        self.check_room(len(content))
        if not path.parent.is_dir():
            path.parent.mkdir(exist_ok=True)
            sync_folder(path.parent.parent)
        partial = path.with_name(f".{uuid4().hex}.partial")
        try:
            with partial.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        sync_folder(path.parent)

    def check_room(self, num_bytes: int) -> None:
        """Refuse early while the disk can still take the database's rows.

        Raises:
            StorageFullError: writing this much would leave less than the reserve.
        """
        if self.is_local and self.free_bytes() < num_bytes + self._min_free_bytes:
            raise StorageFullError("the image store's disk has too little room")

    def free_bytes(self) -> int:
        """Room on the disk of a local store; 0 where the storage is remote and unlimited."""
        return shutil.disk_usage(self._root).free if self.is_local else 0

    def get(self, sha256: str) -> bytes:
        """Read a picture.

        Raises:
            NotFoundError: it is not stored.
            UnavailableError: the storage does not answer.
        """
        try:
            content: bytes = self._filesystem.cat_file(self._path(sha256))
        except FileNotFoundError as error:
            raise NotFoundError("picture", sha256) from error
        except OSError as error:
            raise UnavailableError(f"the image store cannot be read: {error}") from error
        return content

    def remove(self, sha256: str) -> None:
        """Take a picture away; one that is not there is none to take.

        Raises:
            UnavailableError: the storage does not answer.
        """
        try:
            self._filesystem.rm_file(self._path(sha256))
        except FileNotFoundError:
            return
        except OSError as error:
            raise UnavailableError(f"the image store cannot be changed: {error}") from error

    def exists(self, sha256: str) -> bool:
        """Whether a picture is stored."""
        return bool(self._filesystem.exists(self._path(sha256)))

    def all_hashes(self) -> Iterator[str]:
        """Every picture's hash, in no order."""
        for path in self._filesystem.find(self._root):
            name = path.rsplit("/", 1)[-1]
            if len(name) == 64:
                yield name

    def _path(self, sha256: str) -> str:
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise NotFoundError("picture", sha256[:80])
        return f"{self._root}/{sha256[:2]}/{sha256}"

"""The signed model repository: TUF metadata and targets in a folder that a web server hands out.

Layout::

    metadata/N.root.json, N.targets.json, N.snapshot.json, timestamp.json
    targets/{name}/{sha256}.r000001.tar        consistent snapshots: the hash is in the file's name

A client starts from the timestamp, which names the snapshot, which names the targets file. Files
with a version in their name are written once; ``timestamp.json`` is replaced last and in one step.
So a client sees the old state or the new one, and a publisher that dies half-way leaves only
files that nobody refers to.

The root key is made here for convenience and kept in a folder of its own: move that folder to a
stick and the server still works, since only a new root needs it.
"""

import copy
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from cloud.errors import CloudError
from cloud.files import replace_file
from cloud.settings import TufSettings

ONLINE_ROLES = ("targets", "snapshot", "timestamp")
RENEW_BEFORE = 0.5
"""Metadata is renewed when less than this share of its life is left."""

Clock = Callable[[], datetime]
SignedT = TypeVar("SignedT", bound=Signed)


class RepositoryError(CloudError):
    """The repository cannot do what was asked; the text is one line."""


def utc_now() -> datetime:
    """The wall clock, aware."""
    return datetime.now(UTC)


class TufRepository:
    """Publishes release archives for cells.

    Args:
        settings: Folders and lifetimes.
        clock: Tells the time for expiry.
    """

    def __init__(self, settings: TufSettings, *, clock: Clock = utc_now) -> None:
        self.metadata_folder = settings.dir / "metadata"
        self.targets_folder = settings.dir / "targets"
        self._settings = settings
        self._lifetimes = {
            Root.type: timedelta(days=settings.root_days),
            Targets.type: timedelta(days=settings.targets_days),
            Snapshot.type: timedelta(days=settings.snapshot_days),
            Timestamp.type: timedelta(days=settings.timestamp_days),
        }
        self._clock = clock
        self._lock_path = settings.dir / ".lock"

    @property
    def root_path(self) -> Path:
        """The first root, which a cell must be given by hand or by provisioning."""
        return self.metadata_folder / "1.root.json"

    def ensure(self) -> None:
        """Make keys and the first metadata where they are missing; harmless when repeated.

        Raises:
            RepositoryError: there is metadata whose keys are gone.
        """
        for folder in (self.metadata_folder, self.targets_folder):
            folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if not self.root_path.exists():
                self._write_first_root()
            if not self._timestamp_path.exists():
                self._commit(Targets(expires=self._expiry(Targets.type)), version=1)
            root = self.root_path.read_bytes()
            copy_path = self._settings.root_file
            if not copy_path.exists() or copy_path.read_bytes() != root:
                copy_path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(copy_path, root)

    def publish(self, path: str, archive: Path, custom: Mapping[str, int | str]) -> None:
        """Add one target and sign the new state.

        Args:
            path: Target path, such as ``plate/r000007.tar``.
            archive: The file; it is copied.
            custom: What a client reads beside the hash; no floats, as canonical JSON has none.

        Raises:
            RepositoryError: another file was published under this path before.
        """
        target = TargetFile.from_file(path, str(archive))
        target.unrecognized_fields["custom"] = dict(custom)
        with self._locked():
            targets = self._load_targets()
            known = targets.targets.get(path)
            if known is not None:
                if known.hashes == target.hashes:
                    return
                raise RepositoryError(f"{path} was published before with other contents")
            self._copy_target(target, archive)
            changed = copy.deepcopy(targets)
            changed.targets[path] = target
            self._commit(changed, version=targets.version + 1)

    def withdraw(self, path: str) -> None:
        """Take a target out of the signed state; a client can then no longer install it."""
        with self._locked():
            targets = self._load_targets()
            if path not in targets.targets:
                return
            changed = copy.deepcopy(targets)
            gone = changed.targets.pop(path)
            self._commit(changed, version=targets.version + 1)
            self._target_file(gone).unlink(missing_ok=True)

    def refresh(self) -> bool:
        """Sign again what would expire soon; tells whether anything was.

        Call it every few minutes: it reads three small files and mostly does nothing.
        """
        with self._locked():
            timestamp = self._read(Timestamp, self._timestamp_path)
            snapshot = self._read_version(Snapshot, timestamp.snapshot_meta.version)
            targets = self._load_targets()
            if self._is_aging(targets):
                self._commit(copy.deepcopy(targets), version=targets.version + 1)
            elif self._is_aging(snapshot):
                self._commit_snapshot(targets.version, snapshot.version + 1, timestamp.version + 1)
            elif self._is_aging(timestamp):
                self._commit_timestamp(snapshot.version, timestamp.version + 1)
            else:
                return False
            return True

    def targets(self) -> dict[str, Mapping[str, Any]]:
        """What is published: the ``custom`` part of every target by its path."""
        with self._locked():
            found = self._load_targets().targets
        return {
            path: target.unrecognized_fields.get("custom", {}) for path, target in found.items()
        }

    # --- writing -----------------------------------------------------------------------------

    def _write_first_root(self) -> None:
        root = Root(expires=self._expiry(Root.type), consistent_snapshot=True)
        signer = _load_or_make_key(self._settings.offline_keys_dir / "root.pem")
        root.add_key(signer.public_key, Root.type)
        for role in ONLINE_ROLES:
            root.add_key(
                _load_or_make_key(self._settings.keys_dir / f"{role}.pem").public_key, role
            )
        self._sign_and_write(root, signer, self.root_path)

    def _commit(self, targets: Targets, *, version: int) -> None:
        """Write a new state from the leaves to the root of trust: the timestamp comes last."""
        targets.version = version
        targets.expires = self._expiry(Targets.type)
        path = self.metadata_folder / f"{version}.targets.json"
        self._sign_and_write(targets, self._online_key(Targets.type), path)
        snapshot_version = timestamp_version = 1
        if self._timestamp_path.exists():
            timestamp = self._read(Timestamp, self._timestamp_path)
            snapshot_version = timestamp.snapshot_meta.version + 1
            timestamp_version = timestamp.version + 1
        self._commit_snapshot(version, snapshot_version, timestamp_version)

    def _commit_snapshot(self, targets_version: int, version: int, timestamp_version: int) -> None:
        snapshot = Snapshot(
            version=version,
            expires=self._expiry(Snapshot.type),
            meta={"targets.json": MetaFile(targets_version)},
        )
        path = self.metadata_folder / f"{version}.snapshot.json"
        self._sign_and_write(snapshot, self._online_key(Snapshot.type), path)
        self._commit_timestamp(version, timestamp_version)

    def _commit_timestamp(self, snapshot_version: int, version: int) -> None:
        timestamp = Timestamp(
            version=version,
            expires=self._expiry(Timestamp.type),
            snapshot_meta=MetaFile(snapshot_version),
        )
        self._sign_and_write(timestamp, self._online_key(Timestamp.type), self._timestamp_path)

    def _sign_and_write(self, signed: Signed, signer: CryptoSigner, path: Path) -> None:
        metadata: Metadata[Any] = Metadata(signed)
        metadata.sign(signer)
        replace_file(path, metadata.to_bytes())

    def _copy_target(self, target: TargetFile, archive: Path) -> None:
        destination = self._target_file(target)
        destination.parent.mkdir(parents=True, exist_ok=True)
        partial = destination.with_name(f".{destination.name}.partial")
        shutil.copyfile(archive, partial)
        with partial.open("rb+") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != target.hashes["sha256"]:
                raise RepositoryError(f"{archive} changed while it was published")
            os.fsync(stream.fileno())
        partial.replace(destination)

    # --- reading -----------------------------------------------------------------------------

    @property
    def _timestamp_path(self) -> Path:
        return self.metadata_folder / "timestamp.json"

    def _target_file(self, target: TargetFile) -> Path:
        folder, _, name = target.path.rpartition("/")
        return self.targets_folder / folder / f"{target.hashes['sha256']}.{name}"

    def _load_targets(self) -> Targets:
        timestamp = self._read(Timestamp, self._timestamp_path)
        snapshot = self._read_version(Snapshot, timestamp.snapshot_meta.version)
        return self._read_version(Targets, snapshot.meta["targets.json"].version)

    def _read_version(self, kind: type[SignedT], version: int) -> SignedT:
        return self._read(kind, self.metadata_folder / f"{version}.{kind.type}.json")

    def _read(self, kind: type[SignedT], path: Path) -> SignedT:
        try:
            metadata: Metadata[Any] = Metadata.from_bytes(path.read_bytes())
        except OSError as error:
            raise RepositoryError(f"{path} is not readable: {error.strerror}") from error
        if not isinstance(metadata.signed, kind):
            raise RepositoryError(f"{path} is not {kind.type} metadata")
        return metadata.signed

    def _online_key(self, role: str) -> CryptoSigner:
        path = self._settings.keys_dir / f"{role}.pem"
        if not path.exists():
            raise RepositoryError(
                f"{path} is gone: restore it from a backup, or give every cell a new root"
            )
        return _load_or_make_key(path)

    def _expiry(self, role: str) -> datetime:
        return (self._clock() + self._lifetimes[role]).replace(microsecond=0)

    def _is_aging(self, signed: Signed) -> bool:
        return signed.expires - self._clock() < self._lifetimes[signed.type] * RENEW_BEFORE

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # The command line publishes too, beside a running server.
        with self._lock_path.open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def _load_or_make_key(path: Path) -> CryptoSigner:
    if path.exists():
        return CryptoSigner(load_pem_private_key(path.read_bytes(), None))
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    signer = CryptoSigner.generate_ed25519()
    replace_file(path, signer.private_bytes, mode=0o600)
    return signer

"""Releases from the cloud's signed repository (TUF), unpacked on this cell's disk.

What may run here is decided by signatures, not by the connection: every byte is checked against
metadata that leads back to the ``root.json`` that was brought along at installation. An attacker
in between can at most keep new releases away. Metadata older than what was seen before, expired
metadata and changed archives are refused, and the running model goes on.

Wiring::

    source = TufClient(base_url, root=Path("root.json"), folder=settings.update.work)
    source.fetch(ModelRef(…), into=store.incoming)  → folder of the bundle
"""

import shutil
import tarfile
from pathlib import Path

import urllib3
from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.api.metadata import TargetFile
from tuf.ngclient import Updater

from edge_agent.adapters.resuming_fetcher import ResumingFetcher
from edge_agent.errors import ConfigurationError, ReleaseUnavailableError, UpdateError
from models.contract.bundle import MANIFEST_NAME, ModelRef, target_path

MAX_FILES = 1_000
MAX_UNPACKED_BYTES = 1 * 2**30
FREE_DISK_FACTOR = 4
"""The archive, its copy while it is verified, what it unpacks to, and the compiled model."""


class TufClient:
    """One repository as seen by this cell; the updater's thread owns it.

    Args:
        base_url: serves ``metadata/`` and ``targets/``.
        root: the trusted root of the installation.
        folder: for trusted metadata and downloads; made when it is not there.
        timeout_s: for a connection and between two chunks.

    Raises:
        ConfigurationError: the root cannot be read or the folder cannot be made.
    """

    def __init__(self, base_url: str, *, root: Path, folder: Path, timeout_s: float = 10.0) -> None:
        self._base_url = base_url.rstrip("/")
        self._metadata = folder / "metadata"
        self._downloads = folder / "downloads"
        try:
            self._root = root.read_bytes()
            self._metadata.mkdir(parents=True, exist_ok=True)
            self._downloads.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"{error.filename} cannot be used for updates: {error.strerror}"
            ) from error
        self._fetcher = ResumingFetcher(
            self._downloads, resume_under=f"{self._base_url}/targets/", timeout_s=timeout_s
        )

    def fetch(self, ref: ModelRef, *, into: Path) -> Path:
        """Download a release, verify it against signed metadata, unpack it.

        Args:
            ref: name and release that are wanted, and the bundle that they stand for.
            into: folder on the disk of the model store.

        Returns:
            Folder of the bundle, somewhere below ``into``.

        Raises:
            ReleaseUnavailableError: the server cannot be reached or breaks off; what came is kept
                and the next try goes on from there.
            UpdateError: the metadata or the archive is refused, or the release is not published.
        """
        updater, target = self._look_up(ref)
        self._require_space(target)
        archive = self._downloads / f"{ref.name}-r{ref.release:06d}.tar"
        self._download(updater, target, archive)
        try:
            return unpack(archive, into / f"r{ref.release:06d}")
        finally:
            archive.unlink(missing_ok=True)

    def confirm(self, ref: ModelRef) -> None:
        """Check that signed metadata gives this release this bundle, without downloading it.

        Raises:
            ReleaseUnavailableError: the server cannot be reached.
            UpdateError: it does not, or the metadata is refused.
        """
        self._look_up(ref)

    def cancel(self) -> None:
        """Break off whatever is being fetched; any thread."""
        self._fetcher.cancel()

    def _look_up(self, ref: ModelRef) -> tuple[Updater, TargetFile]:
        path = target_path(ref.name, ref.release)
        try:
            updater = Updater(
                str(self._metadata),
                f"{self._base_url}/metadata/",
                str(self._downloads),
                f"{self._base_url}/targets/",
                fetcher=self._fetcher,
                bootstrap=self._root,
            )
            target = updater.get_targetinfo(path)
        except RepositoryError as error:
            raise UpdateError(f"update metadata was refused: {error}") from error
        except (DownloadError, urllib3.exceptions.HTTPError, OSError) as error:
            raise ReleaseUnavailableError(f"update server: {_root_cause(error)}") from error
        if target is None:
            raise UpdateError(f"{path} is not published")
        custom = target.unrecognized_fields.get("custom", {})
        if (custom.get("release"), custom.get("bundle_id")) != (ref.release, ref.bundle_id):
            raise UpdateError(f"{path} is signed for another bundle than the one that is wanted")
        return updater, target

    def _download(self, updater: Updater, target: TargetFile, archive: Path) -> None:
        try:
            updater.download_target(target, str(archive))
        except RepositoryError as error:
            self._fetcher.forget()
            if self._fetcher.has_resumed:  # a piece from before may be to blame: all of it anew
                self._download(updater, target, archive)
                return
            raise UpdateError(f"{target.path} was refused: {error}") from error
        except (DownloadError, urllib3.exceptions.HTTPError, OSError) as error:
            raise ReleaseUnavailableError(f"download broke off: {_root_cause(error)}") from error
        self._fetcher.forget()

    def _require_space(self, target: TargetFile) -> None:
        free = shutil.disk_usage(self._downloads).free
        if free < target.length * FREE_DISK_FACTOR:
            raise ReleaseUnavailableError(
                f"{target.length * FREE_DISK_FACTOR} bytes of disk are needed, {free} are free"
            )


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a bundle's archive without letting it write anywhere else or fill the disk.

    Returns:
        The folder that holds the manifest.

    Raises:
        UpdateError: it is no archive, too large, or holds links, devices or paths that lead out.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with tarfile.open(archive, "r:") as tar:
            members = tar.getmembers()
            size = sum(member.size for member in members)
            if len(members) > MAX_FILES or size > MAX_UNPACKED_BYTES:
                raise UpdateError(f"archive has {len(members)} files of {size} bytes: too many")
            if any(not (member.isreg() or member.isdir()) for member in members):
                raise UpdateError("archive holds something other than files and folders")
            tar.extractall(folder, members, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise UpdateError(f"archive cannot be unpacked: {error}") from error
    manifests = sorted(folder.glob(f"**/{MANIFEST_NAME}"), key=lambda path: len(path.parts))
    if not manifests:
        raise UpdateError(f"archive holds no {MANIFEST_NAME}")
    return manifests[0].parent


def _root_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error

"""Labels as ZIP archives: a snapshot on its way out, and what comes in unpacked with care."""

import lzma
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, cast

from cloud.db.tables import Snapshot
from cloud.errors import InvalidError
from cloud.label_export import LabelFormat, label_files, picture_path
from cloud.snapshot_pictures import SnapshotPictures
from models.contract.snapshot import SnapshotManifest

MAX_FILES = 100_000
MAX_UNPACKED_BYTES = 4_000_000_000
MAX_RATIO = 200
"""An archive that unpacks to more than this many times its size is a bomb."""
COPY_BYTES = 1 << 20
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a way of packing that Python does not know
    RuntimeError,  # it wants a password
    ValueError,  # a name with a NUL
    OSError,  # a name that is too long, or both a file and a folder
)


class _Outflow:
    """A file that only goes forward: what was written is taken out again at once."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._at = 0

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        self._at += len(data)
        return len(data)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


def export_archive(
    snapshot: Snapshot,
    pictures: SnapshotPictures,
    format_: LabelFormat,
    *,
    with_pictures: bool = True,
) -> Iterator[bytes]:
    """A snapshot as a ZIP archive, piece by piece: memory holds one picture at a time.

    Raises:
        UnavailableError: the snapshot's files cannot be read.
    """
    manifest = SnapshotManifest.model_validate(snapshot.manifest)
    rows = list(pictures.index(snapshot.url).values())
    outflow = _Outflow()
    sink = cast("IO[bytes]", outflow)  # all of it that a writer uses
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in label_files(format_, rows, manifest.categories):
            archive.writestr(name, content)
            yield outflow.take()
        if with_pictures:
            for row in rows:
                content = pictures.content(snapshot.url, row.image_id)
                archive.writestr(picture_path(format_, row), content, zipfile.ZIP_STORED)
                yield outflow.take()
    yield outflow.take()


@contextmanager
def unpacked(source: Path | IO[bytes]) -> Iterator[Path]:
    """A folder with an archive's files, gone afterwards; a folder is taken as it is.

    Raises:
        InvalidError: it is no ZIP archive, a path in it leads outside, or it is a bomb.
    """
    if isinstance(source, Path) and source.is_dir():
        yield source
        return
    with TemporaryDirectory(prefix="sightline-labels-") as scratch:
        try:
            with zipfile.ZipFile(source) as archive:
                _check(archive)
                _unpack(archive, Path(scratch))
        except FileNotFoundError as error:
            raise InvalidError(f"there is no {error.filename}") from error
        except UNREADABLE as error:
            raise InvalidError("the labels are not a readable ZIP archive") from error
        yield Path(scratch)


def _check(archive: zipfile.ZipFile) -> None:
    entries = archive.infolist()
    if len(entries) > MAX_FILES:
        raise InvalidError(f"{len(entries)} files are more than the {MAX_FILES} of one archive")
    size = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if size > MAX_UNPACKED_BYTES or size > MAX_RATIO * max(packed, 1_000):
        raise InvalidError(f"the archive unpacks to {size} bytes: that is too much")
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in entry.filename:
            raise InvalidError(f"the archive has a path that leads outside: {entry.filename[:80]}")


def _unpack(archive: zipfile.ZipFile, folder: Path) -> None:
    for entry in archive.infolist():
        if entry.is_dir():
            continue
        target = folder / PurePosixPath(entry.filename.replace("\\", "/"))
        target.parent.mkdir(parents=True, exist_ok=True)
        left = entry.file_size  # what it claims; more is cut off, and its checksum then fails
        with archive.open(entry) as reader, target.open("wb") as writer:
            while left > 0 and (piece := reader.read(min(COPY_BYTES, left))):
                writer.write(piece)
                left -= len(piece)


def copy_to(path: Path, pieces: Iterator[bytes]) -> int:
    """Write an archive to a file, which appears whole or not at all; gives its size."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as stream:
        for piece in pieces:
            stream.write(piece)
    shutil.move(part, path)
    return path.stat().st_size

"""Picture files in a folder or at a URL: which there are, and their bytes."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

import fsspec

from models.training.dataset_formats import LabelledPicture, LabelSet
from models.training.errors import InputError
from models.training.pictures import EXTENSIONS
from models.training.snapshot_io import plain_url

PICTURE_SUFFIXES = (*EXTENSIONS["jpeg"], *EXTENSIONS["png"], ".bmp", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class PictureFolder:
    """The picture files below a folder, by their paths relative to it."""

    url: str
    names: tuple[str, ...]

    def name_of(self, picture: LabelledPicture) -> str:
        """The file that a label means: as it says, else the one of the same path but for its end.

        YOLO's labels name no picture at all, and VOC's drawing tools often name another.
        """
        if picture.file_name in self._known:
            return picture.file_name
        return self._by_stem.get(picture.stem, picture.file_name)

    def unnamed(self, used: Iterable[str]) -> list[str]:
        """Files that no label means."""
        return sorted(self._known - set(used))

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def _by_stem(self) -> dict[str, str]:
        return {PurePosixPath(name).with_suffix("").as_posix(): name for name in self.names}


def list_pictures(url: str) -> PictureFolder:
    """Find all picture files below a folder, in the order of their names.

    Raises:
        InputError: there is no such folder.
    """
    check_folder(url)
    filesystem, root = fsspec.core.url_to_fs(plain_url(url))
    names = [PurePosixPath(path).relative_to(root) for path in sorted(filesystem.find(root))]
    return PictureFolder(
        plain_url(url),
        tuple(name.as_posix() for name in names if name.suffix.lower() in PICTURE_SUFFIXES),
    )


def with_file_names(labels: LabelSet, images_url: str) -> LabelSet:
    """Labels whose pictures have the names of the files that they mean.

    Raises:
        InputError: the folder must be looked into for that, and is not there.
    """
    if not any(picture.stem for picture in labels.pictures):
        return labels
    folder = list_pictures(images_url)
    pictures = [replace(picture, file_name=folder.name_of(picture)) for picture in labels.pictures]
    return replace(labels, pictures=tuple(pictures))


def check_folder(url: str, *, option: str = "--images") -> None:
    """Refuse a folder that is not there before Spark is started for it.

    Raises:
        InputError: it is not there, or cannot be reached.
    """
    try:
        filesystem, root = fsspec.core.url_to_fs(plain_url(url))
        is_there = filesystem.exists(root)
    except (OSError, ImportError, ValueError) as error:
        raise InputError(f"{option} {url}: {str(error).splitlines()[0]}") from error
    if not is_there:
        raise InputError(f"{option} {url}: no such folder")


def read_bytes(path: str) -> bytes:
    """A file's bytes.

    Raises:
        OSError: there is none, or it cannot be read.
    """
    if "://" not in path:
        return Path(path).read_bytes()
    with fsspec.open(path, "rb") as stream:
        return bytes(stream.read())

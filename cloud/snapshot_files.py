"""Snapshots as files: reading their rows and making a new one out of its parent.

A snapshot is immutable, so a new one shares its parent's Parquet files (hard links on a local
disk, copies elsewhere) and adds a file for each split that got new pictures. Only a file that
holds a picture whose label changed is written again, without that picture; the picture goes into
the new file of its split. The manifest is written last: without it there is no snapshot.
"""

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from pydantic import ValidationError

from models.contract.bundle import Category
from models.contract.model import ContractError, first_fault
from models.contract.snapshot import (
    ANNOTATION_FIELDS,
    DATA_FOLDER,
    IMAGE_COLUMNS,
    MANIFEST_NAME,
    Box,
    SnapshotManifest,
    Split,
    SplitCounts,
    snapshot_id_of,
    split_of,
)

_ARROW_TYPES = {
    "string": pa.string(),
    "int32": pa.int32(),
    "binary": pa.binary(),
    "float": pa.float32(),
}
SCHEMA = pa.schema(
    [(name, _ARROW_TYPES[kind]) for name, kind in IMAGE_COLUMNS]
    + [
        (
            "annotations",
            pa.list_(pa.struct([(name, _ARROW_TYPES[kind]) for name, kind in ANNOTATION_FIELDS])),
        )
    ]
)
"""A row: the columns of the contract and the list of labelled boxes."""

ROW_GROUP_ROWS = 64
"""Pictures in a row group: a reader holds some 10 MB at a time."""

ReadImage = Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """A picture that people labelled, still without its bytes.

    Attributes:
        boxes: category, x, y, width, height of each label, in pixels of the picture.
    """

    image_id: str
    file_name: str
    part_id: str
    source: str
    width: int
    height: int
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class KnownRow:
    """A picture of a snapshot: where it is and what is labelled on it."""

    image_id: str
    part_id: str
    split: Split
    file: str
    """Path below the snapshot."""
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """What a new snapshot does to its parent's rows.

    Attributes:
        added: New or relabelled pictures with the split they belong to.
        dropped: Pictures whose row in the parent goes: relabelled or rejected.
        rows: All rows of the new snapshot, as its identity wants them.
    """

    added: tuple[tuple[Split, LabelledPicture], ...]
    dropped: frozenset[str]
    rows: tuple[tuple[str, Split, tuple[Box, ...]], ...]

    @property
    def snapshot_id(self) -> str:
        """Identity of the new snapshot: the same labels give the same one."""
        return snapshot_id_of(self.rows)


def plain_url(url: str) -> str:
    """A URL as fsspec takes it; a local path becomes absolute."""
    if "://" not in url:
        return str(Path(url).resolve())
    return url.rstrip("/")


def read_manifest(url: str) -> SnapshotManifest:
    """Read a snapshot's manifest.

    Raises:
        ContractError: there is none, or it is broken.
    """
    path = f"{plain_url(url)}/{MANIFEST_NAME}"
    try:
        with fsspec.open(path, "rb") as stream:
            return SnapshotManifest.model_validate_json(stream.read())
    except ValidationError as error:
        raise ContractError(f"{path}: {first_fault(error)}") from error
    except (OSError, ImportError, ValueError) as error:
        raise ContractError(f"no snapshot at {url}: cannot read {path}") from error


def read_rows(url: str) -> list[KnownRow]:
    """Every row of a snapshot without its pixels, in the order of the files."""
    rows = []
    filesystem, root = fsspec.core.url_to_fs(plain_url(url))
    for split, file in data_files(filesystem, root):
        with filesystem.open(f"{root}/{file}", "rb") as stream:
            table = pq.read_table(stream, columns=["image_id", "part_id", "annotations"])
        rows += [
            KnownRow(row["image_id"], row["part_id"], split, file, _boxes(row))
            for row in table.to_pylist()
        ]
    return rows


def plan_changes(
    parent: Sequence[KnownRow], labelled: Iterable[LabelledPicture], rejected: Iterable[str]
) -> Changes:
    """Decide what a new snapshot changes, by what people said since.

    A part that the parent knows keeps its split, even where an import placed it by hand; a new
    part falls into the split of its name.

    Args:
        parent: Rows of the parent.
        labelled: Every labelled picture, with the labels in force; those that the parent holds
            with the same labels change nothing.
        rejected: Pictures that must not be used; they leave the data set.
    """
    known = {row.image_id: row for row in parent}
    split_of_part = {row.part_id: row.split for row in parent}
    added = []
    for picture in sorted(labelled, key=lambda picture: picture.image_id):
        row = known.get(picture.image_id)
        if row is not None and _same_boxes(row.boxes, picture.boxes):
            continue
        split = row.split if row else split_of_part.get(picture.part_id)
        added.append((split or split_of(picture.part_id), picture))
    relabelled = {picture.image_id for _, picture in added}
    dropped = frozenset((relabelled | set(rejected)) & known.keys())
    rows = [(row.image_id, row.split, row.boxes) for row in parent if row.image_id not in dropped]
    rows += [(picture.image_id, split, picture.boxes) for split, picture in added]
    return Changes(tuple(added), dropped, tuple(rows))


def write_snapshot(
    url: str,
    *,
    parent_url: str,
    changes: Changes,
    read_image: ReadImage,
    categories: Sequence[Category],
    created_at: datetime,
) -> SnapshotManifest:
    """Make the new snapshot's files.

    Args:
        url: Where it goes. What an earlier try left there without a manifest is removed.
        parent_url: The snapshot that the changes were planned on.
        changes: From `plan_changes`.
        read_image: Gives the encoded picture of an image_id.
        categories: All that reviewers may use; the parent's come first, then those in use.
        created_at: Written into the manifest.

    Raises:
        ContractError: the parent is gone.
    """
    parent = read_manifest(parent_url)
    filesystem, root = fsspec.core.url_to_fs(plain_url(url))
    if filesystem.exists(root):
        filesystem.rm(root, recursive=True)
    _carry_over(parent_url, filesystem, root, changes)
    for split in Split:
        pictures = [picture for own, picture in changes.added if own is split]
        if pictures:
            name = f"{root}/{DATA_FOLDER}/split={split}/part-{changes.snapshot_id}.parquet"
            _write_rows(filesystem, name, _row_batches(pictures, read_image))
    manifest = SnapshotManifest(
        snapshot_id=changes.snapshot_id,
        created_at=created_at,
        categories=_categories(parent.categories, categories, changes.rows),
        splits=_count(changes.rows),
        parent_snapshot_id=parent.snapshot_id,
        source="labels",
    )
    with filesystem.open(f"{root}/{MANIFEST_NAME}", "wb") as stream:
        stream.write(manifest.model_dump_json(indent=2).encode())
    return manifest


def _carry_over(
    parent_url: str, filesystem: AbstractFileSystem, root: str, changes: Changes
) -> None:
    source, source_root = fsspec.core.url_to_fs(plain_url(parent_url))
    affected = {row.file for row in read_rows(parent_url) if row.image_id in changes.dropped}
    for split, file in data_files(source, source_root):
        if file not in affected:
            _link_or_copy(source, f"{source_root}/{file}", filesystem, f"{root}/{file}")
            continue
        name = f"{Path(file).stem}-{changes.snapshot_id}.parquet"
        with source.open(f"{source_root}/{file}", "rb") as stream:
            kept = _without(pq.ParquetFile(stream), changes.dropped)
            _write_rows(filesystem, f"{root}/{DATA_FOLDER}/split={split}/{name}", kept)


def _without(parquet: pq.ParquetFile, dropped: frozenset[str]) -> Iterator[pa.RecordBatch]:
    gone = pa.array(sorted(dropped), pa.string())
    for batch in parquet.iter_batches(ROW_GROUP_ROWS, columns=SCHEMA.names):
        keep = pc.invert(pc.is_in(batch["image_id"], gone))
        yield batch.filter(keep).cast(SCHEMA)


def _link_or_copy(
    source: AbstractFileSystem, origin: str, filesystem: AbstractFileSystem, destination: str
) -> None:
    filesystem.makedirs(destination.rpartition("/")[0], exist_ok=True)
    if "file" in source.protocol and "file" in filesystem.protocol:
        try:
            os.link(origin, destination)
        except OSError:  # another disk, or one that has no links
            shutil.copyfile(origin, destination)
        return
    with source.open(origin, "rb") as reader, filesystem.open(destination, "wb") as writer:
        shutil.copyfileobj(reader, writer)


def _write_rows(
    filesystem: AbstractFileSystem, path: str, batches: Iterator[pa.RecordBatch]
) -> None:
    filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
    # Pictures are compressed already: no codec on their column saves anything.
    codecs = {name: "none" if name == "image" else "snappy" for name in SCHEMA.names}
    codecs.pop("annotations")
    codecs |= {f"annotations.list.element.{name}": "snappy" for name, _ in ANNOTATION_FIELDS}
    with (
        filesystem.open(path, "wb") as stream,
        pq.ParquetWriter(stream, SCHEMA, compression=codecs) as writer,
    ):
        for batch in batches:
            writer.write_batch(batch)


def _row_batches(
    pictures: Sequence[LabelledPicture], read_image: ReadImage
) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(pictures), ROW_GROUP_ROWS):
        group = pictures[start : start + ROW_GROUP_ROWS]
        rows = [_row(picture, read_image(picture.image_id)) for picture in group]
        yield pa.RecordBatch.from_pylist(rows, SCHEMA)


def _row(picture: LabelledPicture, image: bytes) -> dict[str, Any]:
    names = [name for name, _ in ANNOTATION_FIELDS]
    return {
        "image_id": picture.image_id,
        "file_name": picture.file_name,
        "part_id": picture.part_id,
        "source": picture.source,
        "width": picture.width,
        "height": picture.height,
        "image": image,
        "annotations": [dict(zip(names, box, strict=True)) for box in picture.boxes],
    }


def data_files(filesystem: AbstractFileSystem, root: str) -> list[tuple[Split, str]]:
    """Parquet files with their split, as paths below the snapshot, in a fixed order."""
    folders = {split: f"{DATA_FOLDER}/split={split}" for split in Split}
    return [
        (split, f"{folder}/{path.rpartition('/')[2]}")
        for split, folder in folders.items()
        for path in sorted(filesystem.glob(f"{root}/{folder}/*.parquet"))
    ]


def _boxes(row: Mapping[str, Any]) -> tuple[Box, ...]:
    return tuple(
        (box["category"], box["x"], box["y"], box["width"], box["height"])
        for box in row["annotations"] or ()
    )


def _same_boxes(first: Iterable[Box], second: Iterable[Box]) -> bool:
    same = [("", Split.TRAIN, tuple(boxes)) for boxes in (first, second)]
    return snapshot_id_of(same[:1]) == snapshot_id_of(same[1:])


def _categories(
    parent: Sequence[Category],
    offered: Sequence[Category],
    rows: Iterable[tuple[str, Split, tuple[Box, ...]]],
) -> tuple[Category, ...]:
    used = {name for _, _, boxes in rows for name, *_ in boxes}
    known = {category.name for category in parent}
    return tuple(parent) + tuple(category for category in offered if category.name in used - known)


def _count(rows: Iterable[tuple[str, Split, tuple[Box, ...]]]) -> dict[Split, SplitCounts]:
    images: Counter[Split] = Counter()
    boxes: dict[Split, Counter[str]] = {split: Counter() for split in Split}
    for _, split, labels in rows:
        images[split] += 1
        boxes[split].update(name for name, *_ in labels)
    return {
        split: SplitCounts(
            num_images=images[split],
            num_boxes=boxes[split].total(),
            boxes_per_category=dict(sorted(boxes[split].items())),
        )
        for split in Split
    }

"""Reading and writing snapshots: rows through Spark, the manifest through fsspec."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
from pydantic import ValidationError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as fn

from models.contract import snapshot
from models.contract.model import first_fault
from models.contract.snapshot import (
    ANNOTATION_FIELDS,
    DATA_FOLDER,
    IMAGE_COLUMNS,
    MANIFEST_NAME,
    SnapshotManifest,
    Split,
    SplitCounts,
)
from models.training.errors import InputError

_SQL_TYPES = {"string": "string", "int32": "int", "binary": "binary", "float": "float"}
ANNOTATIONS_SQL = "array<struct<{}>>".format(
    ",".join(f"{name}:{_SQL_TYPES[kind]}" for name, kind in ANNOTATION_FIELDS)
)
ROW_SQL = ", ".join(
    [f"{name} {_SQL_TYPES[kind]}" for name, kind in IMAGE_COLUMNS]
    + [f"annotations {ANNOTATIONS_SQL}"]
)
INDEX_COLUMNS = ("image_id", "part_id", "width", "height", "annotations")


@dataclass(frozen=True, slots=True)
class IndexRow:
    """A picture of a snapshot without its pixels.

    Attributes:
        boxes: category, x, y, width, height of each label, in pixels of the picture.
    """

    image_id: str
    split: Split
    part_id: str
    width: int
    height: int
    boxes: tuple[tuple[str, float, float, float, float], ...]


def spark_url(url: str) -> str:
    """A URL as Spark takes it: local paths get their scheme, S3 its Hadoop name."""
    if "://" not in url:
        return Path(url).resolve().as_uri()
    return re.sub(r"^s3://", "s3a://", url).rstrip("/")


def plain_url(url: str) -> str:
    """A URL as fsspec takes it."""
    if "://" not in url:
        return str(Path(url).resolve())
    return re.sub(r"^s3[an]://", "s3://", url).rstrip("/")


def read_manifest(url: str) -> SnapshotManifest:
    """Read a snapshot's manifest.

    Raises:
        InputError: there is no snapshot at ``url``.
    """
    path = f"{plain_url(url)}/{MANIFEST_NAME}"
    try:
        with fsspec.open(path, "rb") as stream:
            return SnapshotManifest.model_validate_json(stream.read())
    except ValidationError as error:
        raise InputError(f"{path}: {first_fault(error)}") from error
    except (OSError, ImportError, ValueError) as error:
        raise InputError(f"no snapshot at {url}: cannot read {path}") from error


def write_manifest(url: str, manifest: SnapshotManifest) -> None:
    """Write the manifest, the last act of making a snapshot: without it there is none."""
    with fsspec.open(f"{plain_url(url)}/{MANIFEST_NAME}", "wb") as stream:
        stream.write(manifest.model_dump_json(indent=2).encode())


def snapshot_exists(url: str) -> bool:
    """Whether a finished snapshot is at ``url``; snapshots are never overwritten."""
    filesystem, path = fsspec.core.url_to_fs(plain_url(url))
    return bool(filesystem.exists(f"{path}/{MANIFEST_NAME}"))


def read_split(session: SparkSession, url: str, split: Split) -> DataFrame:
    """Rows of one split with their pictures; empty where the snapshot has none."""
    folder = f"{DATA_FOLDER}/split={split.value}"
    filesystem, path = fsspec.core.url_to_fs(plain_url(url))
    if not filesystem.exists(f"{path}/{folder}"):
        return session.createDataFrame([], ROW_SQL)
    return session.read.schema(ROW_SQL).parquet(f"{spark_url(url)}/{folder}")


def read_index(session: SparkSession, url: str, splits: Iterable[Split]) -> list[IndexRow]:
    """All rows of some splits without their pictures, ordered by image_id."""
    tables = [
        read_split(session, url, split)
        .select(*INDEX_COLUMNS)
        .withColumn("split", fn.lit(split.value))
        for split in splits
    ]
    rows = reduce(DataFrame.union, tables).toArrow().to_pylist()
    return sorted(
        (index_row(row, Split(row["split"])) for row in rows), key=lambda row: row.image_id
    )


def index_row(row: Mapping[str, Any], split: Split) -> IndexRow:
    """Index entry of a row as Arrow gives it."""
    boxes = tuple(
        (box["category"], box["x"], box["y"], box["width"], box["height"])
        for box in row["annotations"] or ()
    )
    return IndexRow(row["image_id"], split, row["part_id"], row["width"], row["height"], boxes)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row of a snapshot is wanted."""

    partition: int
    split: Split


def placed_rows(
    session: SparkSession, url: str, places: Mapping[str, Place], num_partitions: int
) -> DataFrame:
    """Send each wanted row to the partition named for its image_id; the others are left out.

    The same snapshot and places give the same partitions on every master, which plain
    ``repartition`` does not promise.

    Returns:
        Rows with their pictures and a column ``split``.
    """
    table = pa.table(
        {
            "image_id": pa.array(places, pa.string()),
            "partition": pa.array([place.partition for place in places.values()], pa.int32()),
            "split": pa.array([place.split.value for place in places.values()], pa.string()),
        }
    )
    rows = reduce(DataFrame.union, [read_split(session, url, split) for split in Split])
    located = rows.join(fn.broadcast(session.createDataFrame(table)), "image_id")
    return located.repartitionById(num_partitions, fn.col("partition")).drop("partition")


def dealt(image_ids: Sequence[str], split: Split, num_partitions: int) -> dict[str, Place]:
    """Deal rows out to partitions like cards, in order of their image_id."""
    return {
        image_id: Place(number % num_partitions, split)
        for number, image_id in enumerate(sorted(image_ids))
    }


def snapshot_id_of(rows: Iterable[IndexRow]) -> str:
    """Identity of a snapshot with these rows."""
    return snapshot.snapshot_id_of((row.image_id, row.split, row.boxes) for row in rows)


def count_splits(rows: Sequence[IndexRow]) -> dict[Split, SplitCounts]:
    """Pictures and boxes of each split."""
    counts = {}
    for split in Split:
        own = [row for row in rows if row.split is split]
        boxes = Counter(name for row in own for name, *_ in row.boxes)
        counts[split] = SplitCounts(
            num_images=len(own),
            num_boxes=sum(boxes.values()),
            boxes_per_category=dict(sorted(boxes.items())),
        )
    return counts

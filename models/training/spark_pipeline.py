"""Import of labelled pictures into a snapshot: read, check, split and write, all on Spark."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import fsspec
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as fn

from models.contract.snapshot import DATA_FOLDER, SnapshotManifest, Split, split_of
from models.training.dataset_formats import Annotation, LabelSet, Refusal
from models.training.errors import InputError
from models.training.pictures import EXTENSIONS, CheckedPicture, check_picture
from models.training.snapshot_io import (
    ROW_SQL,
    count_splits,
    index_row,
    plain_url,
    snapshot_exists,
    snapshot_id_of,
    spark_url,
    write_manifest,
)

PICTURE_SUFFIXES = (*EXTENSIONS["jpeg"], *EXTENSIONS["png"], ".bmp", ".tif", ".tiff", ".webp")
CHECKED_SQL = f"{ROW_SQL}, problem string, notes array<string>"
REFUSED_NAME = "refused.jsonl"
# Enough pictures a file that its header is nothing, few enough that a task is soon done again.
PICTURES_PER_PARTITION = 256

AUTO_SPLIT = "auto"


@dataclass(frozen=True, slots=True)
class ImportSource:
    """One label file, where its pictures are, and what they are for."""

    labels: LabelSet
    images_url: str
    split: str = AUTO_SPLIT
    name: str = "import"


@dataclass(frozen=True, slots=True)
class _Placed:
    file_name: str
    part_id: str
    split: Split


def import_snapshot(
    session: SparkSession,
    sources: Sequence[ImportSource],
    url: str,
    *,
    parallelism: int,
    parent_snapshot_id: str | None = None,
) -> SnapshotManifest:
    """Check every picture on the executors and write the snapshot.

    Args:
        session: Spark.
        sources: what to import; categories of all are joined by name, in order.
        url: where the snapshot goes; nothing may be there yet.
        parallelism: tasks that can run at the same time.
        parent_snapshot_id: of the snapshot that this one continues.

    Raises:
        InputError: ``url`` holds a snapshot already, or no picture could be used.
    """
    if snapshot_exists(url):
        raise InputError(f"{url} already holds a snapshot; snapshots are never overwritten")
    checked = _checked(session, sources, parallelism).persist(StorageLevel.DISK_ONLY)
    try:
        index = checked.drop("image").orderBy("place").toArrow().to_pylist()
        placed, refused = place_rows(index, sources)
        if not placed:
            reasons = Counter(refusal.reason for refusal in refused)
            raise InputError(f"no picture could be used: {_in_words(reasons)}")
        _write_rows(session, checked, placed, url)
    finally:
        checked.unpersist()
    for source in sources:
        refused += source.labels.refused
    manifest = _manifest(index, placed, refused, sources, parent_snapshot_id)
    _write_refused(url, refused)
    write_manifest(url, manifest)
    return manifest


def place_rows(
    index: Iterable[Mapping[str, Any]], sources: Sequence[ImportSource]
) -> tuple[dict[int, _Placed], list[Refusal]]:
    """Decide which checked pictures stay and into which split each goes.

    A picture that was imported before in the same list, byte for byte, is left out.

    Args:
        index: checked rows without pixels, in the order of the label files.
        sources: for the split that a whole file was given.

    Returns:
        What stays by the row's place, and everything refused with its reason.
    """
    placed: dict[int, _Placed] = {}
    refused: list[Refusal] = []
    seen: set[str] = set()
    for row in index:
        refused += [Refusal(row["file_name"], note) for note in row["notes"] or ()]
        if row["problem"]:
            refused.append(Refusal(row["file_name"], row["problem"]))
            continue
        if row["image_id"] in seen:
            refused.append(Refusal(row["file_name"], "duplicate picture"))
            continue
        seen.add(row["image_id"])
        wanted = sources[row["source_place"]].split
        split = split_of(row["part_id"]) if wanted == AUTO_SPLIT else Split(wanted)
        placed[row["place"]] = _Placed(row["file_name"], row["part_id"], split)
    return placed, refused


def _checked(session: SparkSession, sources: Sequence[ImportSource], parallelism: int) -> DataFrame:
    rows = [row for place, source in enumerate(sources) for row in _listed(place, source)]
    table = pa.Table.from_pylist(
        [{"place": place, **row} for place, row in enumerate(rows)],
        pa.schema(
            [
                ("place", pa.int32()),
                ("source_place", pa.int32()),
                ("path", pa.string()),
                ("file_name", pa.string()),
                ("part_id", pa.string()),
                ("source", pa.string()),
                ("labels", pa.string()),
                ("is_relative", pa.bool_()),
            ]
        ),
    )
    partitions = max(parallelism, -(-len(rows) // PICTURES_PER_PARTITION))
    listed = session.createDataFrame(table).repartitionById(
        partitions, fn.col("place") % partitions
    )
    return listed.mapInArrow(check_rows, f"place int, source_place int, {CHECKED_SQL}")


def _listed(source_place: int, source: ImportSource) -> Iterator[dict[str, Any]]:
    files = _names_by_stem(source.images_url) if source.labels.is_relative else {}
    for picture in source.labels.pictures:
        name = files.get(picture.file_name, picture.file_name)
        yield {
            "source_place": source_place,
            "path": f"{plain_url(source.images_url)}/{name}",
            "file_name": name,
            "part_id": picture.part_id,
            "source": source.name,
            "labels": json.dumps([asdict(box) for box in picture.annotations]),
            "is_relative": source.labels.is_relative,
        }


def _names_by_stem(images_url: str) -> dict[str, str]:
    """Picture files by their path without ending: YOLO's labels name no more than that."""
    filesystem, root = fsspec.core.url_to_fs(plain_url(images_url))
    names = {}
    for path in sorted(filesystem.find(root)):
        name = PurePosixPath(path).relative_to(root)
        if name.suffix.lower() in PICTURE_SUFFIXES:
            names[name.with_suffix("").as_posix()] = name.as_posix()
    return names


def check_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Executor side of the import: read and check the listed pictures, a batch at a time."""
    for batch in batches:
        for row in batch.to_pylist():
            boxes = [Annotation(**box) for box in json.loads(row["labels"])]
            found = _read_and_check(row["path"], row["file_name"], boxes, row["is_relative"])
            yield pa.RecordBatch.from_pylist([_checked_row(row, found)], _CHECKED_SCHEMA)


def _read_and_check(
    path: str, file_name: str, boxes: list[Annotation], is_relative: bool
) -> CheckedPicture:
    try:
        with fsspec.open(path, "rb") as stream:
            data = stream.read()
    except FileNotFoundError:
        return CheckedPicture("missing picture")
    except OSError:
        return CheckedPicture("unreadable picture")
    return check_picture(data, file_name, boxes, is_relative=is_relative)


_CHECKED_SCHEMA = pa.schema(
    [
        ("place", pa.int32()),
        ("source_place", pa.int32()),
        ("image_id", pa.string()),
        ("file_name", pa.string()),
        ("part_id", pa.string()),
        ("source", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("image", pa.binary()),
        (
            "annotations",
            pa.list_(
                pa.struct(
                    [
                        ("category", pa.string()),
                        ("x", pa.float32()),
                        ("y", pa.float32()),
                        ("width", pa.float32()),
                        ("height", pa.float32()),
                    ]
                )
            ),
        ),
        ("problem", pa.string()),
        ("notes", pa.list_(pa.string())),
    ]
)


def _checked_row(row: dict[str, Any], found: CheckedPicture) -> dict[str, Any]:
    kept = {name: row[name] for name in ("place", "source_place", "file_name", "part_id", "source")}
    return kept | {
        "image_id": found.image_id,
        "width": found.width,
        "height": found.height,
        "image": found.encoded,
        "annotations": [asdict(box) for box in found.boxes],
        "problem": found.problem,
        "notes": list(found.notes),
    }


def _write_rows(
    session: SparkSession, checked: DataFrame, placed: Mapping[int, _Placed], url: str
) -> None:
    table = pa.table(
        {
            "place": pa.array(placed, pa.int32()),
            "split": [entry.split.value for entry in placed.values()],
        }
    )
    decided = checked.join(fn.broadcast(session.createDataFrame(table)), "place")
    rows = decided.drop("place", "source_place", "problem", "notes")
    # Rows without a manifest are what an import left that did not finish: they are replaced.
    rows.write.mode("overwrite").partitionBy("split").parquet(f"{spark_url(url)}/{DATA_FOLDER}")


def _manifest(
    index: Sequence[Mapping[str, Any]],
    placed: Mapping[int, _Placed],
    refused: Sequence[Refusal],
    sources: Sequence[ImportSource],
    parent_snapshot_id: str | None,
) -> SnapshotManifest:
    rows = [index_row(row, placed[row["place"]].split) for row in index if row["place"] in placed]
    categories = {
        category.name: category for source in sources for category in source.labels.categories
    }
    return SnapshotManifest(
        snapshot_id=snapshot_id_of(rows),
        created_at=datetime.now(UTC),
        categories=tuple(categories.values()),
        splits=count_splits(rows),
        parent_snapshot_id=parent_snapshot_id,
        source=", ".join(dict.fromkeys(source.name for source in sources)),
        refused=dict(sorted(Counter(refusal.reason for refusal in refused).items())),
    )


def _write_refused(url: str, refused: Sequence[Refusal]) -> None:
    with fsspec.open(f"{plain_url(url)}/{REFUSED_NAME}", "wt") as stream:
        for refusal in refused:
            stream.write(json.dumps(asdict(refusal)) + "\n")


def _in_words(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count} x {reason}" for reason, count in reasons.items()) or "none listed"

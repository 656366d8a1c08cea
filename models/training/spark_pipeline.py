"""Import of labelled pictures into a snapshot: check, split and write, all on Spark.

The executors read every picture twice: once to check it, and once, when the driver has decided what
stays and where, to write it. Its bytes never wait in between, neither in memory nor on a disk.
"""

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession

from models.contract.snapshot import DATA_FOLDER, SnapshotManifest, Split
from models.training.dataset_formats import Annotation, LabelSet, Refusal
from models.training.errors import InputError, RunFailedError
from models.training.import_report import ImportReport
from models.training.picture_files import PictureFolder, check_folder, list_pictures, read_bytes
from models.training.pictures import CheckedPicture, as_stored, check_picture, sha256_of
from models.training.placing import AUTO_SPLIT, Placement, place_rows
from models.training.progress import Listener
from models.training.snapshot_io import (
    ANNOTATIONS_SQL,
    ROW_SQL,
    count_splits,
    index_row,
    plain_url,
    snapshot_exists,
    snapshot_id_of,
    spark_url,
    write_manifest,
)
from models.training.spark_errors import one_line
from models.training.spark_progress import follow_tasks
from models.training.spark_tasks import deal_rows, number_rows

# Enough pictures a task that its start is nothing, few enough that it is soon done again.
PICTURES_PER_TASK = 128
# Enough pictures a file that its header is nothing.
PICTURES_PER_FILE = 256
NO_LABEL_FILE = "picture without a label file"


@dataclass(frozen=True, slots=True)
class ImportSource:
    """One label file, where its pictures are, and what they are for."""

    labels: LabelSet
    images_url: str
    split: str = AUTO_SPLIT
    name: str = "import"


def check_sources(sources: Sequence[ImportSource], url: str) -> None:
    """Refuse what cannot be imported before Spark is started for it.

    Raises:
        InputError: a folder is not there, or ``url`` holds a snapshot already.
    """
    if snapshot_exists(url):
        raise InputError(f"{url} already holds a snapshot; snapshots are never overwritten")
    for images_url in {source.images_url for source in sources}:
        check_folder(images_url)


def import_snapshot(
    session: SparkSession,
    sources: Sequence[ImportSource],
    url: str,
    *,
    parallelism: int,
    parent_snapshot_id: str | None = None,
    listener: Listener = lambda _: None,
) -> ImportReport:
    """Check every picture on the executors and write the snapshot.

    Args:
        session: Spark.
        sources: what to import; categories of all are joined by name, in order.
        url: where the snapshot goes; nothing may be there yet.
        parallelism: tasks that can run at the same time.
        parent_snapshot_id: of the snapshot that this one continues.
        listener: hears how far the work has come.

    Raises:
        InputError: ``url`` holds a snapshot already, or no picture could be used.
        RunFailedError: the executors could not do it.
    """
    check_sources(sources, url)
    started = time.monotonic()
    listed, unlabelled = _list_rows(sources)
    with follow_tasks(session, "import", len(listed), listener):
        index = _check(session, listed, parallelism)
    placement = place_rows(index, [source.split for source in sources])
    placement.pictures.extend(unlabelled)
    if not placement.splits:
        reasons = Counter(refusal.reason for refusal in placement.pictures)
        raise InputError(f"no picture could be used: {_in_words(reasons)}")
    for source in sources:
        placement.labels.extend(source.labels.refused)
    kept = [
        listed[row["place"]] | row | {"split": placement.splits[row["place"]].value}
        for row in index
        if row["place"] in placement.splits
    ]
    with follow_tasks(session, "write", len(kept), listener):
        _write(session, kept, url, parallelism)
    manifest = _manifest(kept, placement, sources, parent_snapshot_id)
    report = ImportReport(
        manifest,
        url,
        len(listed) + len(unlabelled),
        tuple(placement.pictures),
        tuple(placement.labels),
        tuple(placement.notes),
        time.monotonic() - started,
    )
    report.write()
    write_manifest(url, manifest)
    return report


def _list_rows(sources: Sequence[ImportSource]) -> tuple[list[dict[str, Any]], list[Refusal]]:
    """A row for each picture that a label names, and the pictures that none names."""
    folders: dict[str, PictureFolder] = {}
    rows: list[dict[str, Any]] = []
    for source_place, source in enumerate(sources):
        has_stems = any(picture.stem for picture in source.labels.pictures)
        if has_stems and source.images_url not in folders:
            folders[source.images_url] = list_pictures(source.images_url)
        folder = folders.get(source.images_url, PictureFolder(plain_url(source.images_url), ()))
        for picture in source.labels.pictures:
            name = folder.name_of(picture)
            rows.append(
                {
                    "place": len(rows),
                    "source_place": source_place,
                    "path": f"{folder.url}/{name}",
                    "file_name": name,
                    "part_id": picture.part_id,
                    "source": source.name,
                    "labels": json.dumps(
                        {
                            "boxes": [asdict(box) for box in picture.annotations],
                            "is_relative": source.labels.is_relative,
                            "labelled_size": picture.size,
                        }
                    ),
                }
            )
    used = [row["path"] for row in rows]
    unlabelled = [
        Refusal(name, NO_LABEL_FILE)
        for folder in folders.values()
        for name in folder.unnamed(path.removeprefix(f"{folder.url}/") for path in used)
    ]
    return rows, unlabelled


def _check(
    session: SparkSession, listed: Sequence[Mapping[str, Any]], parallelism: int
) -> list[dict[str, Any]]:
    columns = ("place", "source_place", "path", "file_name", "part_id", "labels")
    table = pa.Table.from_pylist(
        [{name: row[name] for name in columns} for row in listed], _LISTED_SCHEMA
    )
    rows = deal_rows(session, table, PICTURES_PER_TASK, parallelism)
    try:
        checked = rows.mapInArrow(check_rows, CHECKED_SQL).toArrow()
    except Exception as error:
        # Spark and py4j share no root.
        raise RunFailedError(f"import failed: {one_line(error)}") from error
    found: list[dict[str, Any]] = checked.sort_by("place").to_pylist()
    return found


def check_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Executor side of the check: read and check the listed pictures, a batch at a time."""
    for batch in batches:
        rows = [_checked_row(row) for row in batch.to_pylist()]
        yield pa.RecordBatch.from_pylist(rows, _CHECKED_SCHEMA)


def _checked_row(row: Mapping[str, Any]) -> dict[str, Any]:
    found = _read_and_check(row["path"], row["file_name"], json.loads(row["labels"]))
    kept = {name: row[name] for name in ("place", "source_place", "file_name", "part_id")}
    return kept | {
        "image_id": found.image_id,
        "width": found.width,
        "height": found.height,
        "annotations": [asdict(box) for box in found.boxes],
        "problem": found.problem,
        "notes": list(found.notes),
        "print": found.print,
    }


def _read_and_check(path: str, file_name: str, labels: Mapping[str, Any]) -> CheckedPicture:
    try:
        data = read_bytes(path)
    except FileNotFoundError:
        return CheckedPicture("missing picture")
    except OSError:
        return CheckedPicture("unreadable picture")
    size = labels["labelled_size"]
    return check_picture(
        data,
        file_name,
        [Annotation(**box) for box in labels["boxes"]],
        is_relative=labels["is_relative"],
        labelled_size=(size[0], size[1]) if size else None,
    )


def _write(
    session: SparkSession, kept: Sequence[Mapping[str, Any]], url: str, parallelism: int
) -> None:
    # Of one split after the other, so that few tasks write into more than one.
    order = {split.value: place for place, split in enumerate(Split)}
    rows = sorted(kept, key=lambda row: order[row["split"]])
    files = max(parallelism, -(-len(rows) // PICTURES_PER_FILE))
    names = [field.name for field in _KEPT_SCHEMA]
    table = pa.Table.from_pylist(
        [{name: row[name] for name in names} for row in rows], _KEPT_SCHEMA
    )
    task = [place * files // len(rows) for place in range(len(rows))]
    dealt = number_rows(session, table, task, files)
    # Rows without a manifest are what an import left that did not finish: they are replaced.
    try:
        dealt.mapInArrow(fetch_rows, f"{ROW_SQL}, split string").write.mode(
            "overwrite"
        ).partitionBy("split").parquet(f"{spark_url(url)}/{DATA_FOLDER}")
    except Exception as error:
        raise RunFailedError(f"import failed: {one_line(error)}") from error


def fetch_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Executor side of the writing: put each picture's bytes into its row."""
    for batch in batches:
        images = [
            _fetch(path, image_id)
            for path, image_id in zip(
                batch.column("path").to_pylist(), batch.column("image_id").to_pylist(), strict=True
            )
        ]
        place = _STORED_NAMES.index("image")
        columns = [batch.column(name) for name in _STORED_NAMES if name != "image"]
        columns.insert(place, pa.array(images, pa.binary()))
        yield pa.RecordBatch.from_arrays(columns, names=_STORED_NAMES)


def _fetch(path: str, image_id: str) -> bytes:
    data = read_bytes(path)
    if sha256_of(data) != image_id:
        raise ValueError(f"{path} changed while it was imported")
    return as_stored(data)


_ANNOTATIONS = pa.list_(
    pa.struct(
        [
            ("category", pa.string()),
            ("x", pa.float32()),
            ("y", pa.float32()),
            ("width", pa.float32()),
            ("height", pa.float32()),
        ]
    )
)
_LISTED_SCHEMA = pa.schema(
    [
        ("place", pa.int32()),
        ("source_place", pa.int32()),
        ("path", pa.string()),
        ("file_name", pa.string()),
        ("part_id", pa.string()),
        ("labels", pa.string()),
    ]
)
CHECKED_SQL = (
    "place int, source_place int, file_name string, part_id string, image_id string, width int,"
    f" height int, annotations {ANNOTATIONS_SQL}, problem string, notes array<string>, print binary"
)
_CHECKED_SCHEMA = pa.schema(
    [
        ("place", pa.int32()),
        ("source_place", pa.int32()),
        ("file_name", pa.string()),
        ("part_id", pa.string()),
        ("image_id", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("annotations", _ANNOTATIONS),
        ("problem", pa.string()),
        ("notes", pa.list_(pa.string())),
        ("print", pa.binary()),
    ]
)
_KEPT_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("file_name", pa.string()),
        ("part_id", pa.string()),
        ("source", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("annotations", _ANNOTATIONS),
        ("split", pa.string()),
        ("path", pa.string()),
    ]
)
_STORED_NAMES = [
    *("image_id", "file_name", "part_id", "source", "width", "height"),
    *("image", "annotations", "split"),
]


def _manifest(
    kept: Sequence[Mapping[str, Any]],
    placement: Placement,
    sources: Sequence[ImportSource],
    parent_snapshot_id: str | None,
) -> SnapshotManifest:
    rows = [index_row(row, Split(row["split"])) for row in kept]
    categories = {
        category.name: category for source in sources for category in source.labels.categories
    }
    refused = Counter(refusal.reason for refusal in [*placement.pictures, *placement.labels])
    return SnapshotManifest(
        snapshot_id=snapshot_id_of(rows),
        created_at=datetime.now(UTC),
        categories=tuple(categories.values()),
        splits=count_splits(rows),
        parent_snapshot_id=parent_snapshot_id,
        source=", ".join(dict.fromkeys(source.name for source in sources)),
        refused=dict(sorted(refused.items())),
        notes=dict(sorted(Counter(note.reason for note in placement.notes).items())),
    )


def _in_words(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count} x {reason}" for reason, count in reasons.items()) or "none listed"

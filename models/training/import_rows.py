"""The executors' side of an import: rows with a path in, checked rows or pictures out."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pyarrow as pa

from models.training.dataset_formats import Annotation
from models.training.picture_files import read_bytes
from models.training.picture_store import PictureFile, picture_file
from models.training.pictures import CheckedPicture, as_stored, check_picture, sha256_of
from models.training.snapshot_io import ANNOTATIONS_SQL

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
LISTED_SCHEMA = pa.schema(
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
_PICTURE_FIELDS = [
    ("image_id", pa.string()),
    ("file_name", pa.string()),
    ("part_id", pa.string()),
    ("source", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
]
KEPT_SCHEMA = pa.schema(
    [
        *_PICTURE_FIELDS,
        ("annotations", _ANNOTATIONS),
        ("split", pa.string()),
        ("path", pa.string()),
    ]
)
STORED_SCHEMA = pa.schema([*_PICTURE_FIELDS, ("image", pa.binary()), ("annotations", _ANNOTATIONS)])
WRITTEN_SQL = "file string, num_rows int"
_WRITTEN_SCHEMA = pa.schema([("file", pa.string()), ("num_rows", pa.int32())])


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
        "annotations": [box.as_row() for box in found.boxes],
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


def store_rows(folder: str, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Executor side of the writing: pictures of one task, a file for each split.

    Args:
        folder: of the snapshot's rows.
        batches: rows of `KEPT_SCHEMA`.

    Returns:
        The files, with their number of rows.
    """
    from pyspark import TaskContext

    context = TaskContext.get()
    name = f"part-{context.partitionId() if context else 0:05}.parquet"
    counts: dict[str, int] = {}
    with ExitStack() as files:
        writers: dict[str, PictureFile] = {}
        for batch in batches:
            rows: dict[str, list[dict[str, Any]]] = {}
            for row in batch.to_pylist():
                image = _fetch(row.pop("path"), row["image_id"])
                path = f"{folder}/split={row.pop('split')}/{name}"
                rows.setdefault(path, []).append(row | {"image": image})
            for path, own in rows.items():
                if path not in writers:
                    writers[path] = files.enter_context(picture_file(path, STORED_SCHEMA))
                writers[path].add(pa.RecordBatch.from_pylist(own, STORED_SCHEMA))
                counts[path] = counts.get(path, 0) + len(own)
    written = [{"file": path, "num_rows": count} for path, count in counts.items()]
    yield pa.RecordBatch.from_pylist(written, _WRITTEN_SCHEMA)


def _fetch(path: str, image_id: str) -> bytes:
    data = read_bytes(path)
    if sha256_of(data) != image_id:
        raise ValueError(f"{path} changed while it was imported")
    return as_stored(data)

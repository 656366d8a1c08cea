"""Import of labelled pictures into a snapshot: check, split and write, all on Spark.

The executors read every picture twice: once to check it, and once, when the driver has decided what
stays and where, to write it. Its bytes never wait in between, neither in memory nor on a disk.
"""

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import fsspec
import pyarrow as pa
from pyspark.sql import SparkSession

from models.contract.snapshot import DATA_FOLDER, SnapshotManifest, Split
from models.training.dataset_formats import LabelSet, Refusal
from models.training.errors import InputError, RunFailedError
from models.training.import_report import ImportReport
from models.training.import_rows import (
    CHECKED_SQL,
    KEPT_SCHEMA,
    LISTED_SCHEMA,
    WRITTEN_SQL,
    check_rows,
    store_rows,
)
from models.training.picture_files import PictureFolder, check_folder, list_pictures
from models.training.placing import AUTO_SPLIT, Placement, place_rows
from models.training.progress import Listener
from models.training.snapshot_io import (
    count_splits,
    index_row,
    plain_url,
    snapshot_exists,
    snapshot_id_of,
    write_manifest,
)
from models.training.spark_errors import one_line
from models.training.spark_progress import follow_tasks
from models.training.spark_session import BATCH_SETTING
from models.training.spark_tasks import deal_rows, number_rows

# Enough pictures a task that its start is nothing, few enough that it is soon done again: 128 took
# a sixth longer.
PICTURES_PER_TASK = 512
# Rows without their pictures, unlike those that the session's own setting is for.
LISTED_PER_BATCH = 256
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
                            "boxes": [box.as_row() for box in picture.annotations],
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
        [{name: row[name] for name in columns} for row in listed], LISTED_SCHEMA
    )
    rows = deal_rows(session, table, PICTURES_PER_TASK, parallelism)
    batch = session.conf.get(BATCH_SETTING)
    session.conf.set(BATCH_SETTING, LISTED_PER_BATCH)
    try:
        checked = rows.mapInArrow(check_rows, CHECKED_SQL).toArrow()
    except Exception as error:
        # Spark and py4j share no root.
        raise RunFailedError(f"import failed: {one_line(error)}") from error
    finally:
        session.conf.set(BATCH_SETTING, batch)
    found: list[dict[str, Any]] = checked.sort_by("place").to_pylist()
    return found


def _write(
    session: SparkSession, kept: Sequence[Mapping[str, Any]], url: str, parallelism: int
) -> None:
    # Of one split after the other, so that few tasks write into more than one.
    order = {split.value: place for place, split in enumerate(Split)}
    ordered = sorted(kept, key=lambda row: order[row["split"]])
    files = max(parallelism, -(-len(ordered) // PICTURES_PER_FILE))
    names = [field.name for field in KEPT_SCHEMA]
    table = pa.Table.from_pylist(
        [{name: row[name] for name in names} for row in ordered], KEPT_SCHEMA
    )
    task = [place * files // len(ordered) for place in range(len(ordered))]
    dealt = number_rows(session, table, task, files)
    folder = f"{plain_url(url)}/{DATA_FOLDER}"

    def store(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return store_rows(folder, batches)

    try:
        _remove(folder)
        written = dealt.mapInArrow(store, WRITTEN_SQL).toArrow()
    except Exception as error:
        raise RunFailedError(f"import failed: {one_line(error)}") from error
    num_written = sum(written.column("num_rows").to_pylist())
    if num_written != len(ordered):
        raise RunFailedError(f"import failed: {num_written} of {len(ordered)} rows were written")


def _remove(folder: str) -> None:
    """Rows without a manifest are what an import left that did not finish."""
    filesystem, path = fsspec.core.url_to_fs(folder)
    if filesystem.exists(path):
        filesystem.rm(path, recursive=True)


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

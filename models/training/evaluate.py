"""Judge bundles on Spark: every executor runs the very file that ships."""

import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as fn

from models.contract.bundle import FLOAT_FOLDER, verify_files
from models.contract.bundle import read_manifest as read_bundle_manifest
from models.contract.snapshot import Split
from models.detector.boxes import bboxes_of, corners_of
from models.detector.detections import Detections
from models.detector.runtime import DetectorRuntime
from models.training.dataset_formats import LabelSet
from models.training.errors import InputError, RunFailedError
from models.training.metrics import Evaluation, Found, Truth, evaluate
from models.training.pictures import decode
from models.training.snapshot_io import (
    IndexRow,
    dealt,
    placed_rows,
    plain_url,
    read_index,
    read_manifest,
)
from models.training.spark_errors import one_line

ANSWER_SQL = "bundle string, image_id string, problem string, latency_ms float, found string"
_ANSWER_SCHEMA = pa.schema(
    [
        ("bundle", pa.string()),
        ("image_id", pa.string()),
        ("problem", pa.string()),
        ("latency_ms", pa.float32()),
        ("found", pa.string()),
    ]
)
# The first pictures of a task meet cold caches; a robot cell never does.
WARM_UP_RUNS = 3
THREADS_PER_TASK = 1


@dataclass(frozen=True, slots=True)
class PictureSet:
    """Labelled pictures to judge on.

    Attributes:
        rows: ``image_id``, and either ``image`` (encoded) or ``path``.
        truths: labels of each picture, in order of its number in ``numbers``.
        categories: classes that count.
        numbers: picture numbers for COCO result files.
        category_ids: category numbers for COCO result files.
    """

    rows: DataFrame
    truths: tuple[Truth, ...]
    categories: tuple[str, ...]
    numbers: Mapping[str, int]
    category_ids: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one bundle found, how good that is, and what could not be judged."""

    evaluation: Evaluation
    found: tuple[Found, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    images_per_s: float = 0.0


def labelled_pictures(
    session: SparkSession, labels: LabelSet, images_url: str, *, parallelism: int
) -> PictureSet:
    """Pictures of a label file."""
    if labels.is_relative:
        raise InputError("evaluation needs COCO or VOC labels; import YOLO labels into a snapshot")
    numbers = {
        str(place): picture.source_id or place
        for place, picture in enumerate(labels.pictures, start=1)
    }
    truths = tuple(
        Truth(
            str(place),
            corners_of(
                np.array([[box.x, box.y, box.width, box.height] for box in picture.annotations])
            ),
            tuple(box.category for box in picture.annotations),
        )
        for place, picture in enumerate(labels.pictures, start=1)
    )
    table = pa.table(
        {
            "image_id": pa.array(numbers, pa.string()),
            "path": [f"{plain_url(images_url)}/{row.file_name}" for row in labels.pictures],
            "partition": pa.array(
                [place % parallelism for place in range(len(numbers))], pa.int32()
            ),
        }
    )
    rows = session.createDataFrame(table).repartitionById(parallelism, fn.col("partition"))
    names = tuple(category.name for category in labels.categories)
    ids = labels.category_ids or {name: place for place, name in enumerate(names, start=1)}
    rows = rows.select("image_id", "path", fn.lit(None).cast("binary").alias("image"))
    return PictureSet(rows, truths, names, numbers, ids)


def snapshot_pictures(
    session: SparkSession,
    url: str,
    index: Sequence[IndexRow],
    categories: Sequence[str],
    *,
    parallelism: int,
) -> PictureSet:
    """Some pictures of a snapshot, numbered in the order of ``index``.

    Raises:
        InputError: there are none.
    """
    if not index:
        raise InputError(f"snapshot {url} has no pictures to judge on")
    truths = tuple(
        Truth(
            row.image_id,
            corners_of(np.array([box[1:] for box in row.boxes])),
            tuple(box[0] for box in row.boxes),
        )
        for row in index
    )
    places = dealt([row.image_id for row in index], index[0].split, parallelism)
    rows = placed_rows(session, url, places, parallelism)
    return PictureSet(
        rows.select("image_id", fn.lit("").alias("path"), "image"),
        truths,
        tuple(categories),
        {row.image_id: number for number, row in enumerate(index, start=1)},
        {name: number for number, name in enumerate(categories, start=1)},
    )


def split_pictures(session: SparkSession, url: str, split: str, *, parallelism: int) -> PictureSet:
    """Pictures of one split of a snapshot, with all of the snapshot's categories.

    Raises:
        InputError: there is no such snapshot or split.
    """
    if split not in list(Split):
        raise InputError(f"--split {split}: use train, val or locked")
    names = [category.name for category in read_manifest(url).categories]
    index = read_index(session, url, [Split(split)])
    return snapshot_pictures(session, url, index, names, parallelism=parallelism)


def judge_bundles(pictures: PictureSet, bundles: Mapping[str, Path]) -> dict[str, Judgement]:
    """Run every bundle over every picture, a partition a task, and judge on the driver.

    Args:
        pictures: what to judge on.
        bundles: folders by any key.

    Raises:
        BundleError: a folder is not a bundle that can be run.
        RunFailedError: the executors could not do it.
    """
    facts = {}
    for key, folder in bundles.items():
        with DetectorRuntime.load(folder) as runtime:
            facts[key] = (runtime.manifest.bundle_id, runtime.thresholds)
    packed = {key: pack_bundle(folder) for key, folder in bundles.items()}
    started = time.monotonic()

    def task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return judge_rows(packed, batches)

    try:
        answers = pictures.rows.mapInArrow(task, ANSWER_SQL).toArrow().to_pylist()
    except Exception as error:
        # Spark and py4j share no root.
        raise RunFailedError(f"evaluation failed: {one_line(error)}") from error
    seconds = time.monotonic() - started
    return {
        key: _judgement(
            pictures, [row for row in answers if row["bundle"] == key], *facts[key], seconds
        )
        for key in bundles
    }


def check_bundle(folder: Path) -> None:
    """Refuse what cannot be judged, before Spark is asked for anything.

    Raises:
        ContractError: the folder is not a whole bundle.
    """
    verify_files(folder, read_bundle_manifest(folder))


def figures_of(judged: Judgement) -> dict[str, Any]:
    """A judgement for machines."""
    return judged.evaluation.model_dump(mode="json") | {
        "images_per_s": judged.images_per_s,
        "skipped": dict(judged.skipped),
    }


def pack_bundle(folder: Path) -> dict[str, bytes]:
    """A bundle's files without its float checkpoint, to travel with the job."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] != FLOAT_FOLDER
    }


def judge_rows(
    packed: Mapping[str, Mapping[str, bytes]], batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Executor side of the evaluation."""
    runtimes: dict[str, DetectorRuntime] = {}
    for batch in batches:
        for row in batch.to_pylist():
            if not runtimes:
                runtimes = {key: _unpacked(files) for key, files in packed.items()}
            yield from _judge_row(runtimes, row)


def coco_rows(pictures: PictureSet, found: Iterable[Found]) -> list[dict[str, Any]]:
    """Detections in COCO's result format, numbered as the label file numbers them.

    Categories that the label file does not know have no number and are left out.
    """
    return [
        {
            "image_id": pictures.numbers[answer.image_id],
            "category_id": pictures.category_ids[name],
            "bbox": [round(value, 2) for value in bbox],
            "score": round(score, 5),
        }
        for answer in found
        for bbox, score, name in zip(
            bboxes_of(answer.boxes).tolist(),
            answer.scores.tolist(),
            answer.categories,
            strict=True,
        )
        if name in pictures.category_ids
    ]


def _judgement(
    pictures: PictureSet,
    rows: Sequence[Mapping[str, Any]],
    bundle_id: str,
    thresholds: Mapping[str, float],
    seconds: float,
) -> Judgement:
    skipped = {row["image_id"]: row["problem"] for row in rows if row["problem"]}
    found = tuple(_found(row) for row in rows if not row["problem"])
    truths = [truth for truth in pictures.truths if truth.image_id not in skipped]
    evaluation = evaluate(truths, found, pictures.categories, thresholds, bundle_id=bundle_id)
    return Judgement(evaluation, found, skipped, round(len(found) / max(seconds, 1e-6), 1))


def _found(row: Mapping[str, Any]) -> Found:
    answer = json.loads(row["found"])
    return Found(
        row["image_id"],
        np.array(answer["boxes"], np.float32).reshape(-1, 4),
        np.array(answer["scores"], np.float32),
        tuple(answer["categories"]),
        float(row["latency_ms"]),
    )


def _unpacked(files: Mapping[str, bytes]) -> DetectorRuntime:
    with tempfile.TemporaryDirectory(prefix="sightline-bundle-") as folder:
        for name, data in files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        runtime = DetectorRuntime.load(Path(folder), num_threads=THREADS_PER_TASK)
    spec = runtime.spec
    for _ in range(WARM_UP_RUNS):
        runtime.infer(np.zeros((spec.input_height, spec.input_width, 3), np.uint8))
    return runtime


def _judge_row(
    runtimes: Mapping[str, DetectorRuntime], row: Mapping[str, Any]
) -> Iterator[pa.RecordBatch]:
    data = row["image"] if row["image"] is not None else _read(row["path"])
    image = decode(data)
    problem = "" if image is not None else ("broken picture" if data else "missing picture")
    for key, runtime in runtimes.items():
        answer = {"bundle": key, "image_id": row["image_id"], "problem": problem}
        if image is not None:
            started = time.perf_counter()
            detections = runtime.infer(image)
            answer["latency_ms"] = (time.perf_counter() - started) * 1e3
            answer["found"] = _packed_detections(detections, runtime.categories)
        yield pa.RecordBatch.from_pylist([answer], _ANSWER_SCHEMA)


def _packed_detections(detections: Detections, names: Sequence[str]) -> str:
    return json.dumps(
        {
            "boxes": np.round(detections.boxes, 2).tolist(),
            "scores": np.round(detections.scores, 5).tolist(),
            "categories": [names[class_id] for class_id in detections.class_ids],
        }
    )


def _read(path: str) -> bytes:
    try:
        with fsspec.open(path, "rb") as stream:
            return bytes(stream.read())
    except OSError:
        return b""

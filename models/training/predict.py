"""Batch inference: a bundle's very INT8 file over many pictures, on Spark's executors."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as fn

from models.contract.snapshot import Split
from models.detector.boxes import bboxes_of
from models.detector.runtime import DetectorRuntime
from models.training.errors import InputError, RunFailedError
from models.training.judging import pack_bundle, unpack_bundle
from models.training.picture_files import PictureFolder, read_bytes
from models.training.pictures import decode, sha256_of
from models.training.progress import Listener
from models.training.snapshot_io import plain_url, read_manifest, read_split, spark_url
from models.training.spark_errors import one_line
from models.training.spark_progress import follow_tasks
from models.training.spark_tasks import deal_rows

PICTURES_PER_TASK = 128

PREDICTION_SQL = (
    "image_id string, path string, problem string, width int, height int, latency_ms float,"
    " detections array<struct<category:string,score:float,counts:boolean,x:float,y:float,"
    "width:float,height:float>>, bundle_id string"
)
"""A row of the answers. ``counts`` says whether a detection reaches its category's operating point;
boxes are COCO's, in pixels of the picture."""

_PREDICTION_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("path", pa.string()),
        ("problem", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("latency_ms", pa.float32()),
        (
            "detections",
            pa.list_(
                pa.struct(
                    [
                        ("category", pa.string()),
                        ("score", pa.float32()),
                        ("counts", pa.bool_()),
                        ("x", pa.float32()),
                        ("y", pa.float32()),
                        ("width", pa.float32()),
                        ("height", pa.float32()),
                    ]
                )
            ),
        ),
        ("bundle_id", pa.string()),
    ]
)

Task = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]
# A Python worker serves many tasks; compiling the model for each would cost more than its pictures.
_runtimes: dict[str, DetectorRuntime] = {}


@dataclass(frozen=True, slots=True)
class PredictionSummary:
    """What a batch of pictures came to."""

    num_images: int
    num_unreadable: int
    num_detections: int
    """Those that count."""
    latency_ms: float | None
    """Median, of the inference alone."""
    seconds: float

    @property
    def images_per_s(self) -> float:
        """Pictures through all executors, reading and decoding included."""
        return round(self.num_images / max(self.seconds, 1e-6), 1)

    def facts(self) -> dict[str, Any]:
        """The summary for machines."""
        return asdict(self) | {"seconds": round(self.seconds, 2), "images_per_s": self.images_per_s}

    def text(self) -> str:
        """The summary for people."""
        text = f"{self.num_images} pictures in {self.seconds:.1f} s: {self.images_per_s} images/s"
        if self.latency_ms is not None:
            text += f", inference {self.latency_ms:.1f} ms (median)"
        text += f", {self.num_detections} detections that count"
        return text + (f", {self.num_unreadable} unreadable" if self.num_unreadable else "")


def predict(
    rows: DataFrame, total: int, bundle: Path, out: str, listener: Listener
) -> PredictionSummary:
    """Run a bundle over all rows and write the answers as Parquet.

    Args:
        rows: ``path``, and ``image`` (encoded) or null where it is to be read from ``path``.
        total: of rows.
        bundle: folder.
        out: where the answers go.
        listener: hears how far the work has come.

    Raises:
        BundleError: the folder is not a bundle that can be run.
        RunFailedError: the executors could not do it.
    """
    session = rows.sparkSession
    task = task_of(session, bundle)
    started = time.monotonic()
    try:
        with follow_tasks(session, "predict", total, listener):
            rows.mapInArrow(task, PREDICTION_SQL).write.mode("error").parquet(spark_url(out))
        seconds = time.monotonic() - started
        return summary_of(session.read.schema(PREDICTION_SQL).parquet(spark_url(out)), seconds)
    except Exception as error:
        # Spark and py4j share no root.
        raise RunFailedError(f"prediction failed: {one_line(error)}") from error


def check_new(out: str) -> None:
    """Refuse to write where something is.

    Raises:
        InputError: there is.
    """
    try:
        filesystem, path = fsspec.core.url_to_fs(plain_url(out))
        exists = filesystem.exists(path)
    except (OSError, ImportError, ValueError) as error:
        raise InputError(f"--out {out}: {str(error).splitlines()[0]}") from error
    if exists:
        raise InputError(f"--out {out} is there already: name a new folder")


def rows_of_folder(session: SparkSession, folder: PictureFolder, parallelism: int) -> DataFrame:
    """A row for each picture file, dealt out to tasks.

    Raises:
        InputError: there are no pictures.
    """
    if not folder.names:
        raise InputError(f"--images {folder.url}: no pictures in it")
    table = pa.table({"path": pa.array([f"{folder.url}/{name}" for name in folder.names])})
    rows = deal_rows(session, table, PICTURES_PER_TASK, parallelism)
    return rows.select("path", fn.lit(None).cast("binary").alias("image"))


def rows_of_snapshot(
    session: SparkSession, url: str, splits: Iterable[Split]
) -> tuple[DataFrame, int]:
    """The pictures of a snapshot, and how many there are.

    Raises:
        InputError: there is no snapshot, or nothing in these splits.
    """
    splits = list(splits)
    counts = read_manifest(url).splits
    total = sum(counts[split].num_images for split in splits if split in counts)
    if not total:
        raise InputError(f"snapshot {url} has no pictures in {', '.join(splits)}")
    tables = [
        read_split(session, url, split).select(fn.col("file_name").alias("path"), "image")
        for split in splits
    ]
    return reduce(DataFrame.union, tables), total


def task_of(session: SparkSession, bundle: Path) -> Task:
    """The executors' work with a bundle, for ``mapInArrow``.

    Raises:
        BundleError: the folder is not a bundle that can be run.
    """
    with DetectorRuntime.load(bundle) as runtime:
        bundle_id = runtime.manifest.bundle_id
    packed = session.sparkContext.broadcast(pack_bundle(bundle))

    def task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return predict_rows(bundle_id, lambda: packed.value, batches)

    return task


def predict_rows(
    bundle_id: str,
    packed: Callable[[], Mapping[str, bytes]],
    batches: Iterable[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    """Executor side of the inference, a batch of rows at a time."""
    for batch in batches:
        if bundle_id not in _runtimes:
            _runtimes[bundle_id] = unpack_bundle(packed())
        answers = [_answer(_runtimes[bundle_id], row) for row in batch.to_pylist()]
        yield pa.RecordBatch.from_pylist(answers, _PREDICTION_SCHEMA)


def _answer(runtime: DetectorRuntime, row: Mapping[str, Any]) -> dict[str, Any]:
    answer = {"path": row["path"], "bundle_id": runtime.manifest.bundle_id, "detections": []}
    try:
        data = read_bytes(row["path"]) if row["image"] is None else row["image"]
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        return answer | {"problem": "missing picture" if missing else "unreadable picture"}
    answer["image_id"] = sha256_of(data)
    image = decode(data)
    if image is None:
        return answer | {"problem": "broken picture"}
    started = time.perf_counter()
    found = runtime.infer(image)
    latency_ms = (time.perf_counter() - started) * 1e3
    thresholds = runtime.thresholds
    names = [runtime.categories[class_id] for class_id in found.class_ids]
    detections = [
        {
            "category": name,
            "score": score,
            "counts": score >= thresholds.get(name, 0.0),
            **dict(zip(("x", "y", "width", "height"), bbox, strict=True)),
        }
        for name, score, bbox in zip(
            names,
            np.round(found.scores.astype(float), 5).tolist(),
            np.round(bboxes_of(found.boxes), 2).tolist(),
            strict=True,
        )
    ]
    return answer | {
        "problem": "",
        "width": image.shape[1],
        "height": image.shape[0],
        "latency_ms": latency_ms,
        "detections": detections,
    }


def summary_of(answers: DataFrame, seconds: float) -> PredictionSummary:
    """Count what was written."""
    counted = fn.size(fn.filter("detections", lambda found: found["counts"]))
    (row,) = answers.agg(
        fn.count("*").alias("images"),
        fn.count_if(fn.col("problem") != "").alias("unreadable"),
        fn.coalesce(fn.sum(counted), fn.lit(0)).alias("detections"),
        fn.median("latency_ms").alias("latency_ms"),
    ).collect()
    latency_ms = None if row["latency_ms"] is None else round(float(row["latency_ms"]), 2)
    return PredictionSummary(
        row["images"], row["unreadable"], int(row["detections"]), latency_ms, seconds
    )

"""Inference over pictures as they arrive: Spark Structured Streaming, each picture exactly once.

Spark's log of the source says which files a batch holds before it begins, and its log of commits
which batches are done. A batch that was cut off is run again with the same files and replaces what
it left: its answers lie in a folder of its own. So every reader of Parquet, not only Spark, finds
each picture once.

::

    OUT/batch=0/*.parquet
    OUT/batch=1/*.parquet
    OUT/_stream/            the logs, and where the pictures come from
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as fn

from models.training.errors import InputError, RunFailedError
from models.training.picture_files import PICTURE_SUFFIXES
from models.training.predict import PREDICTION_SQL, PredictionSummary, summary_of, task_of
from models.training.progress import Listener
from models.training.snapshot_io import plain_url, spark_url
from models.training.spark_errors import one_line

STATE_FOLDER = "_stream"
SOURCE_NAME = "source.json"
FILE_SQL = "path string, modificationTime timestamp, length long, content binary"
POLL = "1 second"
# Spark forgets files that are older than its newest by more than this, and then takes them again
# for new ones; pictures keep the time of their camera when they are copied.
MAX_FILE_AGE = "36500d"
WAIT_S = 0.5


def check_stream(source: str, out: str) -> None:
    """Refuse what would not give each picture once.

    Raises:
        InputError: ``out`` holds something else, or the stream of another folder.
    """
    try:
        filesystem, path = fsspec.core.url_to_fs(plain_url(out))
        if not filesystem.exists(path) or not filesystem.ls(path):
            return
        state = f"{path}/{STATE_FOLDER}/{SOURCE_NAME}"
        if not filesystem.exists(state):
            raise InputError(f"--out {out} holds no stream's answers: name a new folder")
        known = json.loads(filesystem.cat_file(state))["source"]
    except (OSError, ImportError, ValueError, KeyError) as error:
        raise InputError(f"--out {out}: {str(error).splitlines()[0]}") from error
    if known != spark_url(source):
        raise InputError(f"--out {out} goes on with {known}, not with {source}")


def predict_stream(
    session: SparkSession,
    source: str,
    bundle: Path,
    out: str,
    *,
    listener: Listener,
    once: bool = False,
    pictures_per_batch: int = 256,
) -> PredictionSummary:
    """Run a bundle over every picture in a folder and over those that come, until it is stopped.

    Args:
        session: Spark.
        source: folder or URL; a picture must be moved into it whole, or be written under a name
            that begins with a dot and renamed.
        bundle: folder.
        out: where the answers go; the same one goes on where it was left.
        listener: hears of every batch.
        once: end when all that is there has been looked at.
        pictures_per_batch: at most.

    Raises:
        InputError: see `check_stream`.
        RunFailedError: the stream failed.
    """
    check_stream(source, out)
    _write_source(source, out)
    totals = _Totals(listener)
    pictures = (
        session.readStream.format("binaryFile")
        .schema(FILE_SQL)
        .option("recursiveFileLookup", value=True)
        .option("pathGlobFilter", _glob())
        .option("maxFilesPerTrigger", pictures_per_batch)
        .option("maxFileAge", MAX_FILE_AGE)
        .load(spark_url(source))
    )
    trigger: dict[str, Any] = {"availableNow": True} if once else {"processingTime": POLL}
    query = (
        pictures.select("path", fn.col("content").alias("image"))
        .writeStream.foreachBatch(_batch_writer(session, bundle, out, totals))
        .option("checkpointLocation", f"{spark_url(out)}/{STATE_FOLDER}")
        .trigger(**trigger)
        .start()
    )
    try:
        while not query.awaitTermination(WAIT_S):
            pass
    except Exception as error:
        # Spark and py4j share no root.
        raise RunFailedError(f"the stream failed: {one_line(error)}") from error
    return totals.summary()


class _Totals:
    """Sums up the batches of this run."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._batches: list[PredictionSummary] = []

    def add(self, batch_id: int, batch: PredictionSummary) -> None:
        self._batches.append(batch)
        self._listener(
            {
                "event": "progress",
                "stage": "predict",
                "batch": batch_id,
                "step": sum(done.num_images for done in self._batches),
                "rate": batch.images_per_s,
            }
        )

    def summary(self) -> PredictionSummary:
        known = [done.latency_ms for done in self._batches if done.latency_ms is not None]
        return PredictionSummary(
            sum(done.num_images for done in self._batches),
            sum(done.num_unreadable for done in self._batches),
            sum(done.num_detections for done in self._batches),
            sorted(known)[len(known) // 2] if known else None,
            sum(done.seconds for done in self._batches),
        )


def _batch_writer(
    session: SparkSession, bundle: Path, out: str, totals: _Totals
) -> Callable[[DataFrame, int], None]:
    task = task_of(session, bundle)

    def write(pictures: DataFrame, batch_id: int) -> None:
        started = time.monotonic()
        folder = f"{spark_url(out)}/batch={batch_id}"
        # Whole or not at all, and again the same: this is what makes it exactly once.
        pictures.mapInArrow(task, PREDICTION_SQL).write.mode("overwrite").parquet(folder)
        seconds = time.monotonic() - started
        answers = pictures.sparkSession.read.schema(PREDICTION_SQL).parquet(folder)
        totals.add(batch_id, summary_of(answers, seconds))

    return write


def _write_source(source: str, out: str) -> None:
    path = f"{plain_url(out)}/{STATE_FOLDER}/{SOURCE_NAME}"
    try:
        with fsspec.open(path, "wt", auto_mkdir=True) as stream:
            stream.write(json.dumps({"source": spark_url(source)}) + "\n")
    except OSError as error:
        raise InputError(f"--out {out}: {error.strerror or error}") from error


def _glob() -> str:
    suffixes = [suffix.removeprefix(".") for suffix in PICTURE_SUFFIXES]
    return "*.{" + ",".join([*suffixes, *(suffix.upper() for suffix in suffixes)]) + "}"

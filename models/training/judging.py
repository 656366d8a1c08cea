"""The executors' side of an evaluation: run a bundle over a partition's pictures."""

import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa

from models.contract.bundle import FLOAT_FOLDER
from models.detector.detections import Detections
from models.detector.runtime import DetectorRuntime
from models.training.answers import Found
from models.training.pictures import decode

ANSWER_SQL = (
    "bundle string, image_id string, problem string, latency_ms float, found string, "
    "precision string"
)
_ANSWER_SCHEMA = pa.schema(
    [
        ("bundle", pa.string()),
        ("image_id", pa.string()),
        ("problem", pa.string()),
        ("latency_ms", pa.float32()),
        ("found", pa.string()),
        ("precision", pa.string()),
    ]
)
# The first pictures of a task meet cold caches; a robot cell never does.
WARM_UP_RUNS = 3
THREADS_PER_TASK = 1


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
                runtimes = {key: unpack_bundle(files) for key, files in packed.items()}
            yield from _judge_row(runtimes, row)


def unpack_bundle(files: Mapping[str, bytes]) -> DetectorRuntime:
    """A packed bundle, compiled for this machine and warm."""
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
    data = row["image"] if row["image"] is not None else read_picture(row["path"])
    image = decode(data)
    problem = "" if image is not None else ("broken picture" if data else "missing picture")
    for key, runtime in runtimes.items():
        answer = {"bundle": key, "image_id": row["image_id"], "problem": problem}
        if image is not None:
            started = time.perf_counter()
            detections = runtime.infer(image)
            answer["latency_ms"] = (time.perf_counter() - started) * 1e3
            answer["precision"] = runtime.precision_in_force
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


def read_picture(path: str) -> bytes:
    """An encoded picture from any URL; empty where it cannot be read."""
    try:
        with fsspec.open(path, "rb") as stream:
            return bytes(stream.read())
    except OSError:
        return b""


def found_of(row: Mapping[str, Any]) -> Found:
    """What a row of `judge_rows` says that was found."""
    answer = json.loads(row["found"])
    return Found(
        row["image_id"],
        np.array(answer["boxes"], np.float32).reshape(-1, 4),
        np.array(answer["scores"], np.float32),
        tuple(answer["categories"]),
        float(row["latency_ms"]),
    )

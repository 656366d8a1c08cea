"""The Spark import beside a plain process pool with the same cores."""

import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models.contract.snapshot import Split, split_of
from models.training.dataset_formats import LabelledPicture, read_labels
from models.training.pictures import check_picture
from models.training.spark_pipeline import ImportSource, import_snapshot
from models.training.spark_session import open_session

from .pictures import rendered
from .report import alternate, ratio

COUNT, QUICK_COUNT = 4000, 400
ROUNDS, QUICK_ROUNDS = 7, 2
CHUNK = 64
WHY = (
    "The pool by hand reads each picture once and keeps no promise: no second look at what changed"
    " meanwhile, no near-duplicates, no retry of a task, no URL but a local path. Decoding alone is"
    " what the checks cannot do without; the rest of the import's time is its price over that."
)


def measure(work: Path, *, is_quick: bool) -> dict[str, Any]:
    folder = rendered(work, QUICK_COUNT if is_quick else COUNT)
    labels = read_labels("coco", folder / "coco.json")
    images, cores = str(folder / "images"), len(os.sched_getaffinity(0))
    out = work / "import"
    chunks = [
        labels.pictures[start : start + CHUNK] for start in range(0, len(labels.pictures), CHUNK)
    ]
    with (
        open_session(f"local[{cores}]", reuse_workers=True) as session,
        multiprocessing.get_context("spawn").Pool(cores, _one_thread) as pool,
    ):

        def spark() -> float:
            shutil.rmtree(out, ignore_errors=True)
            started = time.monotonic()
            import_snapshot(session, [ImportSource(labels, images)], str(out), parallelism=cores)
            return len(labels.pictures) / (time.monotonic() - started)

        def by_hand() -> float:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            started = time.monotonic()
            jobs = [(images, chunk, str(out / f"{n}.parquet")) for n, chunk in enumerate(chunks)]
            rows = [row for found in pool.imap_unordered(_import_chunk, jobs) for row in found]
            (out / "index.json").write_text(json.dumps(rows))
            return len(labels.pictures) / (time.monotonic() - started)

        def decoding() -> float:
            started = time.monotonic()
            jobs = [(images, chunk, "") for chunk in chunks]
            count = sum(pool.imap_unordered(_decode_chunk, jobs))
            return count / (time.monotonic() - started)

        sides = {"spark_import": spark, "pool_import": by_hand, "pool_decode_only": decoding}
        for side in sides.values():
            side()
        found = alternate(sides, QUICK_ROUNDS if is_quick else ROUNDS)
    shutil.rmtree(out, ignore_errors=True)
    against_import = ratio(found, "spark_import", "pool_import")
    top = {
        "import_images_per_s": found["per_s"]["spark_import"],
        "import_vs_pool": against_import,
        # Both sides take all cores, so less processor time is more pictures a second.
        "import_vs_pool_by_cpu": round(
            found["cpu_s"]["pool_import"] / max(found["cpu_s"]["spark_import"], 1e-6), 3
        ),
        "import_vs_pool_decode_only": ratio(found, "spark_import", "pool_decode_only"),
    }
    return {"top": top, "target": {"import_vs_pool": 0.8}, "why": WHY, "cores": cores, **found}


Job = tuple[str, Sequence[LabelledPicture], str]


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _decode_chunk(job: Job) -> int:
    images, pictures, _ = job
    for picture in pictures:
        data = Path(images, picture.file_name).read_bytes()
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None
    return len(pictures)


def _import_chunk(job: Job) -> list[dict[str, Any]]:
    """The same checks and the same rows, written by Arrow."""
    images, pictures, out = job
    rows = []
    for picture in pictures:
        data = Path(images, picture.file_name).read_bytes()
        found = check_picture(data, picture.file_name, picture.annotations, is_relative=False)
        split = split_of(picture.part_id)
        rows.append(
            {
                "image_id": found.image_id,
                "file_name": picture.file_name,
                "part_id": picture.part_id,
                "source": "coco.json",
                "width": found.width,
                "height": found.height,
                "image": data,
                "annotations": [box.as_row() for box in found.boxes],
                "split": split.value,
            }
        )
    for split in Split:
        own = [row for row in rows if row["split"] == split.value]
        if own:
            path = Path(out).with_suffix(f".{split.value}.parquet")
            pq.write_table(pa.Table.from_pylist(own), path, compression="zstd")
    return [{name: row[name] for name in ("image_id", "file_name", "split")} for row in rows]

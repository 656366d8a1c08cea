"""Judge bundles on Spark: every executor runs the very file that ships."""

import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as fn

from models.contract.bundle import read_manifest as read_bundle_manifest
from models.contract.bundle import verify_files
from models.contract.snapshot import Split
from models.detector.boxes import bboxes_of, corners_of
from models.detector.preprocess import Image
from models.detector.runtime import DetectorRuntime
from models.training.dataset_formats import LabelSet
from models.training.errors import InputError, RunFailedError
from models.training.judging import (
    ANSWER_SQL,
    found_of,
    judge_rows,
    pack_bundle,
    read_picture,
)
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
    """What one bundle found, how good that is, and what could not be judged.

    Attributes:
        evaluation: on all pictures, at the bundle's own thresholds.
        found: the answers.
        skipped: pictures that could not be judged and why.
        images_per_s: over all executors.
        truths: labels of the pictures that were judged.
        precision_in_force: what the executors' compiled models run their float layers in.
    """

    evaluation: Evaluation
    found: tuple[Found, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    images_per_s: float = 0.0
    truths: tuple[Truth, ...] = ()
    precision_in_force: str = ""

    def among(self, image_ids: Container[str]) -> tuple[list[Truth], list[Found]]:
        """Labels and answers of some pictures."""
        return (
            [truth for truth in self.truths if truth.image_id in image_ids],
            [answer for answer in self.found if answer.image_id in image_ids],
        )


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
        "precision_in_force": judged.precision_in_force,
        "skipped": dict(judged.skipped),
    }


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


def pictures_of(
    pictures: PictureSet,
    image_ids: Sequence[str],
    change: Callable[[Image], Image] | None = None,
) -> dict[str, Image]:
    """Decode some of the pictures in the driver; those that cannot be read are left out.

    Args:
        pictures: of which some are wanted.
        image_ids: of those.
        change: what to keep of each, such as a smaller one: the originals may fill the memory.
    """
    wanted = pictures.rows.where(fn.col("image_id").isin(list(image_ids)))
    decoded: dict[str, Image] = {}
    for row in wanted.select("image_id", "path", "image").toLocalIterator():
        data = bytes(row["image"]) if row["image"] is not None else read_picture(row["path"])
        image = decode(data)
        if image is not None:
            decoded[row["image_id"]] = change(image) if change else image
    return decoded


def _judgement(
    pictures: PictureSet,
    rows: Sequence[Mapping[str, Any]],
    bundle_id: str,
    thresholds: Mapping[str, float],
    seconds: float,
) -> Judgement:
    skipped = {row["image_id"]: row["problem"] for row in rows if row["problem"]}
    found = tuple(found_of(row) for row in rows if not row["problem"])
    truths = tuple(truth for truth in pictures.truths if truth.image_id not in skipped)
    evaluation = evaluate(truths, found, pictures.categories, thresholds, bundle_id=bundle_id)
    precisions = sorted({row["precision"] for row in rows if row["precision"]})
    return Judgement(
        evaluation,
        found,
        skipped,
        round(len(found) / max(seconds, 1e-6), 1),
        truths,
        ", ".join(precisions),
    )

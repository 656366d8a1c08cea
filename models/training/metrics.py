"""How good a detector is, in pycocotools' numbers, and where its operating point lies."""

import contextlib
import io
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from models.contract.model import Frozen
from models.detector.boxes import Boxes, bboxes_of

Judge = Any
"""A pycocotools ``COCOeval`` after accumulation; pycocotools ships no types."""

# Scores of the curve that a threshold is chosen from; finer steps than this mean nothing.
THRESHOLD_GRID = np.arange(0.05, 0.96, 0.01)
DEFAULT_THRESHOLD = 0.4
DEFECT_BETA = 2.0


@dataclass(frozen=True, slots=True)
class Truth:
    """What a person labelled in one picture; ``(N, 4)`` corners in its pixels."""

    image_id: str
    boxes: Boxes
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What a model found in one picture, and how long that took.

    Categories are names, so that two models with different label maps can be compared.
    """

    image_id: str
    boxes: Boxes
    scores: npt.NDArray[np.float32]
    categories: tuple[str, ...]
    latency_ms: float = 0.0


class ClassEvaluation(Frozen):
    """One category; ``recall`` and ``precision`` are those at the operating point."""

    ap50: float | None = None
    recall: float | None = None
    precision: float | None = None
    num_boxes: int = Field(default=0, ge=0)


class Evaluation(Frozen):
    """Figures of one model on one set of pictures."""

    bundle_id: str = ""
    map50: float | None = None
    map: float | None = None
    num_images: int = 0
    per_class: dict[str, ClassEvaluation] = Field(default_factory=dict)
    latency_ms: dict[str, float] = Field(default_factory=dict)


def evaluate(
    truths: Sequence[Truth],
    found: Sequence[Found],
    categories: Sequence[str],
    thresholds: Mapping[str, float],
    *,
    bundle_id: str = "",
) -> Evaluation:
    """Judge a model's answers.

    Args:
        truths: every picture that was judged, also those without a box.
        found: the answers; a picture without one found nothing.
        categories: classes that count. One without a labelled box has no AP and does not enter
            the mean; one that the model does not know has AP 0.
        thresholds: operating point of each class.
        bundle_id: of the model.
    """
    result = _coco_eval(truths, found, categories)
    precision = result.eval["precision"][:, :, :, 0, -1]  # (IoU, recall, class)
    per_class = {}
    for index, name in enumerate(categories):
        scores, hits, num_boxes = _matches(result, index)
        chosen = scores >= thresholds.get(name, DEFAULT_THRESHOLD)
        num_hits = int(hits[chosen].sum())
        per_class[name] = ClassEvaluation(
            ap50=_mean(precision[0, :, index]),
            recall=num_hits / num_boxes if num_boxes else None,
            precision=num_hits / int(chosen.sum()) if chosen.any() else None,
            num_boxes=num_boxes,
        )
    return Evaluation(
        bundle_id=bundle_id,
        map50=_mean(precision[0]),
        map=_mean(precision),
        num_images=len(truths),
        per_class=per_class,
        latency_ms=latency_of(found),
    )


def choose_thresholds(
    truths: Sequence[Truth],
    found: Sequence[Found],
    categories: Sequence[str],
    *,
    defects: Container[str] = frozenset(),
) -> dict[str, float]:
    """Operating point of each class: the best F1, for a defect F2, as an escape costs more.

    Where many scores reach the best, the point lies a quarter up: false alarms end where that range
    begins, while the scores of objects thin out slowly below the lowest that a few pictures show.

    To be chosen on validation pictures, never on those that judge the model.
    """
    result = _coco_eval(truths, found, categories)
    thresholds = {}
    for index, name in enumerate(categories):
        scores, hits, num_boxes = _matches(result, index)
        above = scores[None] >= THRESHOLD_GRID[:, None]
        true = (above & hits[None]).sum(axis=1)
        # F-beta (van Rijsbergen 1979): finding counts beta times as much as being right.
        weight = (DEFECT_BETA if name in defects else 1.0) ** 2
        f_beta = (1 + weight) * true / np.maximum(above.sum(axis=1) + weight * num_boxes, 1)
        best = np.flatnonzero(f_beta >= f_beta.max() - 1e-9)
        chosen = THRESHOLD_GRID[best[len(best) // 4]] if f_beta.max() > 0 else DEFAULT_THRESHOLD
        thresholds[name] = round(float(chosen), 2)
    return thresholds


def latency_of(found: Sequence[Found]) -> dict[str, float]:
    """Median and 99th percentile in milliseconds."""
    if not found:
        return {}
    p50, p99 = np.percentile([answer.latency_ms for answer in found], [50, 99])
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2)}


def _coco_eval(truths: Sequence[Truth], found: Sequence[Found], categories: Sequence[str]) -> Judge:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    image_ids = {truth.image_id: number for number, truth in enumerate(truths, start=1)}
    class_ids = {name: number for number, name in enumerate(categories, start=1)}
    with contextlib.redirect_stdout(io.StringIO()):
        labelled, answered = COCO(), COCO()
        labelled.dataset = _dataset(image_ids, class_ids, _truth_rows(truths, image_ids, class_ids))
        answered.dataset = _dataset(image_ids, class_ids, _found_rows(found, image_ids, class_ids))
        labelled.createIndex()
        answered.createIndex()
        judge = COCOeval(labelled, answered, "bbox")
        # All of them: boxes of an image that is not listed would not count at all.
        judge.params.imgIds = sorted(image_ids.values())
        judge.evaluate()
        judge.accumulate()
    return judge


def _dataset(
    image_ids: Mapping[str, int], class_ids: Mapping[str, int], rows: list[dict[str, Any]]
) -> dict[str, Any]:
    for number, row in enumerate(rows, start=1):
        row.update(id=number, iscrowd=0, area=row["bbox"][2] * row["bbox"][3])
    return {
        "images": [{"id": number} for number in image_ids.values()],
        "categories": [{"id": number, "name": name} for name, number in class_ids.items()],
        "annotations": rows,
    }


def _truth_rows(
    truths: Sequence[Truth], image_ids: Mapping[str, int], class_ids: Mapping[str, int]
) -> list[dict[str, Any]]:
    return [
        {"image_id": image_ids[truth.image_id], "category_id": class_ids[name], "bbox": bbox}
        for truth in truths
        for bbox, name in zip(bboxes_of(truth.boxes).tolist(), truth.categories, strict=True)
        if name in class_ids
    ]


def _found_rows(
    found: Sequence[Found], image_ids: Mapping[str, int], class_ids: Mapping[str, int]
) -> list[dict[str, Any]]:
    return [
        {
            "image_id": image_ids[answer.image_id],
            "category_id": class_ids[name],
            "bbox": bbox,
            "score": score,
        }
        for answer in found
        if answer.image_id in image_ids
        for bbox, score, name in zip(
            bboxes_of(answer.boxes).tolist(),
            answer.scores.tolist(),
            answer.categories,
            strict=True,
        )
        if name in class_ids
    ]


def _matches(
    judge: Judge, class_index: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], int]:
    """Scores of a class's boxes, whether each hit a labelled one, and how many are labelled."""
    num_images = len(judge.params.imgIds)
    num_areas = len(judge.params.areaRng)
    start = class_index * num_areas * num_images  # the first area range is "all"
    scores, hits, num_boxes = [], [], 0
    for picture in judge.evalImgs[start : start + num_images]:
        if picture is None:
            continue
        scores.append(np.asarray(picture["dtScores"], float))
        hits.append(np.asarray(picture["dtMatches"][0] > 0, bool))
        num_boxes += len(picture["gtIds"])
    if not scores:
        return np.zeros(0), np.zeros(0, bool), num_boxes
    return np.concatenate(scores), np.concatenate(hits), num_boxes


def _mean(precision: npt.NDArray[np.float64]) -> float | None:
    """Mean over what pycocotools could measure; it marks the rest with -1."""
    known = precision[precision > -1]
    return round(float(known.mean()), 5) if known.size else None

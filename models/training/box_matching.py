"""Which of a model's boxes met a labelled one: pycocotools' matching, as plain arrays."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.detector.boxes import Boxes, bboxes_of, corners_of, iou_matrix
from models.training.answers import Found, Truth

Judge = Any
"""A pycocotools ``COCOeval`` after accumulation; pycocotools ships no types."""
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
AreaRange = tuple[float, float]

ALL_AREAS: AreaRange = (0.0, 1e10)
MAX_BOXES_PER_PICTURE = 100
MATCH_IOU = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class ClassMatches:
    """A class's boxes and labels, matched at an overlap of 0.5, the best score first.

    The matching is greedy from the highest score down: leaving out what lies below a threshold
    changes nothing above it. So one matching serves every threshold.

    Attributes:
        scores: ``(N,)`` of the boxes that the model found.
        hits: ``(N,)`` whether each met a label.
        pictures: ``(N,)`` place of each one's picture among the truths.
        boxes: ``(N, 4)`` corners.
        label_scores: ``(M,)`` score of the box that met each label; 0 where none did.
        label_pictures: ``(M,)``.
        label_boxes: ``(M, 4)``.
        num_pictures: pictures that were judged.
    """

    scores: Floats
    hits: Flags
    pictures: Ints
    boxes: Boxes
    label_scores: Floats
    label_pictures: Ints
    label_boxes: Boxes
    num_pictures: int

    @property
    def num_labels(self) -> int:
        """Labelled boxes."""
        return len(self.label_scores)

    def stands_free(self, max_iou: float = 0.1) -> Flags:
        """``(N,)``: whether each box lies where no label of its class is."""
        free = np.ones(len(self.scores), bool)
        for place in np.unique(self.label_pictures):
            own = np.flatnonzero(self.pictures == place)
            labels = self.label_boxes[self.label_pictures == place]
            if len(own):
                free[own] = iou_matrix(self.boxes[own], labels).max(axis=1) < max_iou
        return free


def match_boxes(
    truths: Sequence[Truth], found: Sequence[Found], categories: Sequence[str]
) -> dict[str, ClassMatches]:
    """Match every class of some pictures; see `ClassMatches`."""
    judge = coco_eval(truths, found, categories, ious=(MATCH_IOU,))
    return matches_of(judge, categories)


def coco_eval(
    truths: Sequence[Truth],
    found: Sequence[Found],
    categories: Sequence[str],
    *,
    ious: Sequence[float] | None = None,
    areas: Sequence[AreaRange] = (ALL_AREAS,),
) -> Judge:
    """Judge with pycocotools.

    Args:
        truths: every picture that is judged, also those without a box.
        found: the answers; a picture without one found nothing.
        categories: classes that count.
        ious: overlaps that make a hit; COCO's ten if left out.
        areas: ranges of box areas to judge apart.
    """
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
        judge.params.maxDets = [MAX_BOXES_PER_PICTURE]
        judge.params.areaRng = [list(area) for area in areas]
        judge.params.areaRngLbl = [str(place) for place in range(len(areas))]
        if ious is not None:
            judge.params.iouThrs = np.asarray(ious, float)
        judge.evaluate()
        judge.accumulate()
    return judge


def matches_of(judge: Judge, categories: Sequence[str]) -> dict[str, ClassMatches]:
    """Matches of every class from a judge whose first area range is `ALL_AREAS`."""
    return {name: _matches(judge, index) for index, name in enumerate(categories)}


def _matches(judge: Judge, class_index: int) -> ClassMatches:
    num_pictures = len(judge.params.imgIds)
    start = class_index * len(judge.params.areaRng) * num_pictures
    scores, hits, pictures, boxes = [], [], [], []
    label_scores, label_pictures, label_boxes = [], [], []
    for place, entry in enumerate(judge.evalImgs[start : start + num_pictures]):
        if entry is None:
            continue
        score_of = dict(zip(entry["dtIds"], entry["dtScores"], strict=True)) | {0: 0.0}
        scores += entry["dtScores"]
        hits += (entry["dtMatches"][0] > 0).tolist()
        pictures += [place] * len(entry["dtIds"])
        boxes += [row["bbox"] for row in judge.cocoDt.loadAnns(entry["dtIds"])]
        label_scores += [score_of[int(number)] for number in entry["gtMatches"][0]]
        label_pictures += [place] * len(entry["gtIds"])
        label_boxes += [row["bbox"] for row in judge.cocoGt.loadAnns(entry["gtIds"])]
    order = np.argsort(-np.asarray(scores, float), kind="stable")
    return ClassMatches(
        scores=np.asarray(scores, float)[order],
        hits=np.asarray(hits, bool)[order],
        pictures=np.asarray(pictures, np.int64)[order],
        boxes=corners_of(np.array(boxes))[order],
        label_scores=np.asarray(label_scores, float),
        label_pictures=np.asarray(label_pictures, np.int64),
        label_boxes=corners_of(np.array(label_boxes)),
        num_pictures=num_pictures,
    )


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

"""Detections in COCO's result format, as pycocotools and every benchmark read it."""

from typing import Any, TypedDict

from models.detector.boxes import bboxes_of
from models.detector.detections import Detections


class CocoResult(TypedDict):
    """One detected box; ``bbox`` is x, y, width, height in pixels."""

    image_id: int
    category_id: int
    bbox: list[float]
    score: float


def coco_results(
    image_id: int, detections: Detections, category_ids: dict[int, int]
) -> list[CocoResult]:
    """Write one picture's detections as COCO results.

    Args:
        image_id: of the picture in the COCO file.
        detections: boxes in pixels of that picture.
        category_ids: COCO category id of each class id; classes that are not in it are left out.
    """
    rows: Any = zip(
        bboxes_of(detections.boxes).tolist(),
        detections.scores.tolist(),
        detections.class_ids.tolist(),
        strict=True,
    )
    return [
        CocoResult(
            image_id=image_id,
            category_id=category_ids[class_id],
            bbox=[round(value, 2) for value in bbox],
            score=round(score, 5),
        )
        for bbox, score, class_id in rows
        if class_id in category_ids
    ]

"""From a finished cycle to what is kept of it."""

import hashlib
from functools import lru_cache

import cv2

from edge_agent.exposure import exposure_of
from edge_agent.ports import CycleOutcome, Image, Picture
from models.contract.messages import DetectionRecord, HardReason, Inspection
from models.detector.detections import Detections

RECORDED_SCORE = 0.1
"""Weaker boxes are noise: a hundred of them would make every record 6 KB."""
MAX_RECORDED = 100


def inspection_of(
    cycle: CycleOutcome,
    *,
    image_sha256: str | None = None,
    hard_reasons: tuple[HardReason, ...] = (),
    is_simulated: bool = False,
) -> Inspection:
    """The record of a cycle: what the PLC was told, and what was seen.

    On the last view of a part the verdict is that on the part, as the PLC was told.
    """
    is_last = cycle.part_verdict is not None
    height, width = cycle.frame.image.shape[:2] if cycle.frame else (0, 0)
    exposure = exposure_of(cycle.frame.image) if cycle.frame else None
    return Inspection(
        result_id=cycle.result_id,
        job_id=cycle.job_id,
        trigger_id=cycle.trigger_id,
        part_id=cycle.part_id,
        view=cycle.view.name,
        verdict=cycle.part_verdict or cycle.verdict,
        is_partial=cycle.is_partial,
        result_state=cycle.result_state,
        reasons=cycle.part_reasons if is_last else cycle.reasons,
        detections=detection_records(cycle),
        recipe_id=cycle.recipe.recipe_id,
        recipe_version=cycle.recipe.version,
        model=cycle.model,
        processing_ms=cycle.timings.processing_ms,
        inference_ms=cycle.timings.inference_ms,
        image_width_px=width,
        image_height_px=height,
        image_sha256=image_sha256,
        mean_grey=exposure.mean_grey if exposure else None,
        sharpness=exposure.sharpness if exposure else None,
        hard_reasons=hard_reasons,
        is_simulated=is_simulated or bool(cycle.frame and cycle.frame.is_simulated),
    )


def encode_picture(
    cycle: CycleOutcome, hard_reasons: tuple[HardReason, ...], *, quality: int
) -> Picture | None:
    """The cycle's picture as a JPEG; None when there was none. Takes 5 to 25 ms."""
    if cycle.frame is None:
        return None
    data = _jpeg(cycle.frame.image, quality)
    height, width = cycle.frame.image.shape[:2]
    return Picture(
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        width_px=width,
        height_px=height,
        result_id=cycle.result_id,
        part_id=cycle.part_id,
        view=cycle.view.name,
        created_at=cycle.frame.captured_at,
        hard_reasons=hard_reasons,
    )


def detection_records(cycle: CycleOutcome) -> tuple[DetectionRecord, ...]:
    """Every box that is strong enough to be worth a line in the record, best first."""
    return _records_of(cycle.detections, cycle.categories) if cycle.detections else ()


# A picture over HTTP is answered with them and recorded with them.
@lru_cache(maxsize=8)
def _records_of(found: Detections, categories: tuple[str, ...]) -> tuple[DetectionRecord, ...]:
    return tuple(
        DetectionRecord(
            category=categories[int(class_id)],
            score=round(min(score, 1.0), 4),
            bbox=(round(x1, 1), round(y1, 1), round(x2 - x1, 1), round(y2 - y1, 1)),
        )
        for class_id, score, x1, y1, x2, y2 in found.rows(RECORDED_SCORE)[:MAX_RECORDED]
    )


def _jpeg(image: Image, quality: int) -> bytes:
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise ValueError("the picture cannot be encoded")
    return data.tobytes()

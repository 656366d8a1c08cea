"""Golden pictures: does this model answer here as it did when it was released?"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from models.contract.bundle import GoldenDetection, GoldenPicture
from models.detector.boxes import bboxes_of, corners_of, iou_matrix
from models.detector.detections import Detections
from models.detector.runtime import DetectorRuntime

GOLDEN_FOLDER = "golden"
# What the manifest records; fainter boxes come and go with a CPU's rounding.
MIN_RECORDED_SCORE = 0.3
# INT8 kernels of different CPUs round differently; a wrong or damaged model is far beyond these.
MIN_IOU = 0.7
MAX_SCORE_CHANGE = 0.2


@dataclass(frozen=True, slots=True)
class GoldenReport:
    """Outcome of a golden check; each fault is one line."""

    num_pictures: int
    faults: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the model may judge parts: every golden picture was answered as before."""
        return not self.faults and self.num_pictures > 0


def check(runtime: DetectorRuntime, bundle_dir: Path) -> GoldenReport:
    """Run every golden picture of a bundle and compare with the recorded answers."""
    faults: list[str] = []
    for golden in runtime.manifest.golden:
        image = cv2.imread(str(bundle_dir / golden.file), cv2.IMREAD_COLOR)
        if image is None:
            faults.append(f"{golden.file} cannot be read")
            continue
        found = runtime.infer(np.asarray(image, np.uint8))
        faults += compare(golden, found, runtime.categories)
    return GoldenReport(len(runtime.manifest.golden), tuple(faults))


def compare(golden: GoldenPicture, found: Detections, categories: tuple[str, ...]) -> list[str]:
    """Faults of one answer: recorded boxes that are gone or changed, and strong new ones."""
    unexplained = np.ones(len(found), bool)
    faults = []
    for expected in golden.detections:
        if expected.category not in categories:
            faults.append(f"{golden.file}: {expected.category} is not a category of the model")
            continue
        match = _best_match(expected, found, categories.index(expected.category), unexplained)
        if match is None:
            faults.append(f"{golden.file}: {expected.category} at {expected.bbox} is gone")
            continue
        unexplained[match] = False
        change = float(found.scores[match]) - expected.score
        if abs(change) > MAX_SCORE_CHANGE:
            faults.append(f"{golden.file}: score of {expected.category} moved by {change:+.2f}")
    limit = MIN_RECORDED_SCORE + MAX_SCORE_CHANGE
    for index in np.flatnonzero(unexplained & (found.scores > limit)):
        name = categories[found.class_ids[index]]
        faults.append(f"{golden.file}: {name} found that was not there before")
    return faults


def record(file: str, found: Detections, categories: tuple[str, ...]) -> GoldenPicture:
    """Write down an answer as the expected one."""
    strong = found.at_least(MIN_RECORDED_SCORE)
    rows = zip(bboxes_of(strong.boxes).tolist(), strong.scores, strong.class_ids, strict=True)
    return GoldenPicture(
        file=file,
        detections=tuple(
            GoldenDetection(
                category=categories[class_id],
                bbox=(round(x, 1), round(y, 1), round(width, 1), round(height, 1)),
                score=round(float(score), 4),
            )
            for (x, y, width, height), score, class_id in rows
        ),
    )


def _best_match(
    expected: GoldenDetection,
    found: Detections,
    class_id: int,
    free: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
) -> int | None:
    candidates = np.flatnonzero(free & (found.class_ids == class_id))
    if not len(candidates):
        return None
    overlap = iou_matrix(corners_of(np.array([expected.bbox])), found.boxes[candidates])[0]
    best = int(overlap.argmax())
    return int(candidates[best]) if overlap[best] >= MIN_IOU else None

"""Cut-and-paste: rare defects from one training picture put into another.

Dwibedi et al. 2017, "Cut, Paste and Learn": what matters is that the seam does not give the paste
away, so patches are blended over their margin and matched to the brightness of their new place.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from models.contract.bundle import CategoryKind
from models.detector.boxes import Boxes, iou_matrix
from models.detector.detections import ClassIds
from models.detector.preprocess import Image
from models.training.fit_settings import RARE_RATIO, RunState

if TYPE_CHECKING:
    from models.training.training_data import Sample

Rng = np.random.Generator

# Seen round a box, so that the blend has background to work with.
MARGIN_RATIO = 0.25
PLACE_TRIES = 10
MAX_PART_OF_PICTURE = 0.5


class Paster:
    """Puts defects of rare classes into other pictures.

    Only classes of kind ``defect`` are pasted, never whole objects: a bolt where no hole is would
    teach what cannot be. Does nothing where the run's `paste_probability` is 0 or nothing is rare.
    """

    def __init__(self, samples: Sequence["Sample"], state: RunState) -> None:
        self._probability = state.settings.paste_probability
        self._samples = samples
        rare = rare_defects(state) if self._probability else frozenset()
        self._sources = [
            (place, number)
            for place, sample in enumerate(samples)
            for number, class_id in enumerate(sample.class_ids)
            if int(class_id) in rare
        ]

    def paste(
        self, image: Image, boxes: Boxes, class_ids: ClassIds, rng: Rng
    ) -> tuple[Image, Boxes, ClassIds]:
        """Perhaps put one rare defect into a picture.

        Args:
            image: ``(H, W, 3)``; not changed.
            boxes: ``(N, 4)`` corners in its pixels.
            class_ids: ``(N,)``.
            rng: source of all chance.
        """
        if not self._sources or rng.random() >= self._probability:
            return image, boxes, class_ids
        place, number = self._sources[rng.integers(len(self._sources))]
        sample = self._samples[place]
        patch, inner = _cut(sample.image(), sample.boxes[number])
        if patch.shape[0] > image.shape[0] * MAX_PART_OF_PICTURE or (
            patch.shape[1] > image.shape[1] * MAX_PART_OF_PICTURE
        ):
            return image, boxes, class_ids
        corner = _free_place(image, patch, boxes, rng)
        if corner is None:
            return image, boxes, class_ids
        pasted = _blend(image, patch, corner)
        box = inner + np.array([*corner, *corner], np.float32)
        return (
            pasted,
            np.concatenate([boxes, box[None]]).astype(np.float32),
            np.append(class_ids, sample.class_ids[number]),
        )


def rare_defects(state: RunState) -> frozenset[int]:
    """Class ids of the defects that have few boxes."""
    counts = state.boxes_per_class
    limit = RARE_RATIO * max(counts, default=0)
    return frozenset(
        class_id
        for class_id, (category, count) in enumerate(zip(state.categories, counts, strict=True))
        if category.kind is CategoryKind.DEFECT and 0 < count < limit
    )


def _cut(image: Image, box: npt.NDArray[np.float32]) -> tuple[Image, Boxes]:
    """A box with its margin, and where the box lies in it."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box * np.array([width, height, width, height], np.float32)
    margin_x, margin_y = MARGIN_RATIO * (x2 - x1), MARGIN_RATIO * (y2 - y1)
    left, top = max(0, int(x1 - margin_x)), max(0, int(y1 - margin_y))
    right, bottom = min(width, int(x2 + margin_x) + 1), min(height, int(y2 + margin_y) + 1)
    inner = np.array([x1 - left, y1 - top, x2 - left, y2 - top], np.float32)
    return image[top:bottom, left:right], inner


def _free_place(image: Image, patch: Image, boxes: Boxes, rng: Rng) -> tuple[int, int] | None:
    height, width = patch.shape[:2]
    for _ in range(PLACE_TRIES):
        x = int(rng.integers(image.shape[1] - width + 1))
        y = int(rng.integers(image.shape[0] - height + 1))
        wanted = np.array([[x, y, x + width, y + height]], np.float32)
        if not len(boxes) or iou_matrix(wanted, boxes).max() == 0:
            return x, y
    return None


def _blend(image: Image, patch: Image, corner: tuple[int, int]) -> Image:
    height, width = patch.shape[:2]
    x, y = corner
    alpha = np.zeros((height, width), np.float32)
    edge_x, edge_y = max(1, width // 8), max(1, height // 8)
    alpha[edge_y : height - edge_y, edge_x : width - edge_x] = 1
    alpha = cv2.GaussianBlur(alpha, (0, 0), max(1.0, min(edge_x, edge_y) / 2))[..., None]
    pasted = image.copy()
    ground = pasted[y : y + height, x : x + width].astype(np.float32)
    matched = patch + (np.median(ground, axis=(0, 1)) - np.median(patch, axis=(0, 1)))
    mixed = alpha * matched + (1 - alpha) * ground
    pasted[y : y + height, x : x + width] = np.clip(mixed, 0, 255)
    return pasted

"""How well small, medium and large objects are found: by this data's own sizes, and by COCO's."""

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field

from models.contract.model import Frozen
from models.contract.proportions import wilson_interval
from models.detector.boxes import areas
from models.training.answers import Found, Truth
from models.training.box_matching import MATCH_IOU, AreaRange, ClassMatches, coco_eval

SIZE_NAMES = ("small", "medium", "large")
# Areas in square pixels at which COCO parts small from medium from large.
COCO_LIMITS = (32.0**2, 96.0**2)
MAX_AREA = 1e10


class SizeFigures(Frozen):
    """Boxes of one range of sizes, over all classes.

    Attributes:
        low_px: smallest side of a square of that area; ``high_px`` the largest, None: no limit.
        ap50: mean over the classes that have such boxes.
        recall: at the operating points, with its 95 % Wilson interval.
    """

    name: str
    low_px: float
    high_px: float | None
    num_boxes: int = Field(ge=0)
    ap50: float | None = None
    recall: float | None = None
    recall_low: float | None = None
    recall_high: float | None = None


class SizeTable(Frozen):
    """Figures by size, in two ways to tell small from large."""

    own: tuple[SizeFigures, ...] = ()
    """Thirds of this data's boxes, the smallest third first."""
    coco: tuple[SizeFigures, ...] = ()
    """COCO's areas: below 32x32 px, below 96x96 px, above."""


def judge_sizes(
    truths: Sequence[Truth],
    found: Sequence[Found],
    matches: Mapping[str, ClassMatches],
    thresholds: Mapping[str, float],
) -> SizeTable:
    """Judge each size apart.

    Args:
        truths: the labels.
        found: the answers.
        matches: of both, by class.
        thresholds: operating point of each class.
    """
    labels = [own.label_boxes for own in matches.values() if own.num_labels]
    if not labels:
        return SizeTable()
    limits = np.quantile(areas(np.concatenate(labels)), [1 / 3, 2 / 3])
    ranges = [*_ranges((float(limits[0]), float(limits[1]))), *_ranges(COCO_LIMITS)]
    judge = coco_eval(truths, found, tuple(matches), ious=(MATCH_IOU,), areas=ranges)
    precision = judge.eval["precision"][0, :, :, :, -1]  # (recall, class, area)
    figures = [
        _figures(
            SIZE_NAMES[place % len(SIZE_NAMES)],
            area,
            precision[:, :, place],
            matches,
            thresholds,
        )
        for place, area in enumerate(ranges)
    ]
    return SizeTable(own=tuple(figures[:3]), coco=tuple(figures[3:]))


def _ranges(limits: tuple[float, float]) -> tuple[AreaRange, ...]:
    small, large = limits
    return ((0.0, small), (small, large), (large, MAX_AREA))


def _figures(
    name: str,
    area: AreaRange,
    precision: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    matches: Mapping[str, ClassMatches],
    thresholds: Mapping[str, float],
) -> SizeFigures:
    low, high = area
    num_boxes = num_hits = 0
    for category, own in matches.items():
        extent = areas(own.label_boxes)
        # A box exactly on a limit counts once, as the larger size.
        inside = (extent >= low) & (extent < high)
        num_boxes += int(inside.sum())
        num_hits += int((own.label_scores[inside] >= thresholds[category]).sum())
    known = precision[:, (precision > -1).all(axis=0)]
    least, most = wilson_interval(num_hits, num_boxes)
    return SizeFigures(
        name=name,
        low_px=round(low**0.5, 1),
        high_px=round(high**0.5, 1) if high < MAX_AREA else None,
        num_boxes=num_boxes,
        ap50=round(float(known.mean()), 4) if known.size and num_boxes else None,
        recall=round(num_hits / num_boxes, 4) if num_boxes else None,
        recall_low=round(least, 4) if num_boxes else None,
        recall_high=round(most, 4) if num_boxes else None,
    )

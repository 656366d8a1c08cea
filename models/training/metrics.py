"""How good a detector is, in pycocotools' numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field

from models.contract.model import Frozen
from models.training.answers import Found, Truth
from models.training.box_matching import coco_eval, matches_of
from models.training.operating_point import DEFAULT_THRESHOLD, choose_thresholds

__all__ = [
    "DEFAULT_THRESHOLD",
    "ClassEvaluation",
    "Evaluation",
    "Found",
    "Truth",
    "choose_thresholds",
    "evaluate",
    "latency_of",
]


class ClassEvaluation(Frozen):
    """One category; ``recall`` and ``precision`` are those at the operating point."""

    ap50: float | None = None
    ap: float | None = None
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
    judge = coco_eval(truths, found, categories)
    precision = judge.eval["precision"][:, :, :, 0, -1]  # (IoU, recall, class)
    per_class = {}
    for index, (name, own) in enumerate(matches_of(judge, categories).items()):
        chosen = own.scores >= thresholds.get(name, DEFAULT_THRESHOLD)
        num_hits = int(own.hits[chosen].sum())
        per_class[name] = ClassEvaluation(
            ap50=_mean(precision[0, :, index]),
            ap=_mean(precision[:, :, index]),
            recall=num_hits / own.num_labels if own.num_labels else None,
            precision=num_hits / int(chosen.sum()) if chosen.any() else None,
            num_boxes=own.num_labels,
        )
    return Evaluation(
        bundle_id=bundle_id,
        map50=_mean(precision[0]),
        map=_mean(precision),
        num_images=len(truths),
        per_class=per_class,
        latency_ms=latency_of(found),
    )


def latency_of(found: Sequence[Found]) -> dict[str, float]:
    """Median and 99th percentile in milliseconds."""
    if not found:
        return {}
    p50, p99 = np.percentile([answer.latency_ms for answer in found], [50, 99])
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2)}


def _mean(precision: npt.NDArray[np.float64]) -> float | None:
    """Mean over what pycocotools could measure; it marks the rest with -1."""
    known = precision[precision > -1]
    return round(float(known.mean()), 5) if known.size else None

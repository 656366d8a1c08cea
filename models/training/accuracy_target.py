"""What accuracy control measures: the gate's own figures, from a network's raw answers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.detector.preprocess import Image, resize_to_input, scale_to_input
from models.detector.spec import DetectorSpec
from models.training.answers import Found, Truth
from models.training.metrics import evaluate
from models.training.quantization_gate import GateLimits
from models.training.quantize import AccuracyTarget
from models.training.validation import decode_answers


def accuracy_target(
    pictures: Sequence[tuple[Image, Truth]],
    spec: DetectorSpec,
    thresholds: Mapping[str, float],
    *,
    ends_at: float,
    limits: GateLimits | None = None,
) -> AccuracyTarget:
    """A target whose metric is mAP@0.5, less what any class's recall falls short of its limit.

    Args:
        pictures: of any size, with their labels.
        spec: of the network.
        thresholds: operating points.
        ends_at: monotonic second by which accuracy control must be over.
        limits: of the gate.
    """
    limits = limits or GateLimits()
    samples = [
        (
            np.array(resize_to_input(image, spec)),
            Truth(truth.image_id, scale_to_input(truth.boxes, image.shape, spec), truth.categories),
        )
        for image, truth in pictures
    ]
    metric = _Metric(spec, thresholds, limits, num_samples=len(samples))
    return AccuracyTarget(samples, metric, limits.max_map50_drop, ends_at)


class _Metric:
    """Remembers the recalls of the first network that it sees whole: the float one."""

    def __init__(
        self,
        spec: DetectorSpec,
        thresholds: Mapping[str, float],
        limits: GateLimits,
        *,
        num_samples: int,
    ) -> None:
        self._spec = spec
        self._thresholds = thresholds
        self._limits = limits
        self._num_samples = num_samples
        self._float_recalls: dict[str, float] | None = None

    def __call__(self, answers: Sequence[tuple[tuple[Image, Truth], Any, Any]]) -> float:
        truths = [truth for (_, truth), _, _ in answers]
        found = [self._found(truth.image_id, *raw) for (_, truth), *raw in answers]
        result = evaluate(truths, found, self._spec.categories, self._thresholds)
        recalls = {
            name: own.recall for name, own in result.per_class.items() if own.recall is not None
        }
        if self._float_recalls is None and len(answers) == self._num_samples:
            self._float_recalls = recalls
        lost = max(
            (
                before - recalls.get(name, 0.0)
                for name, before in (self._float_recalls or {}).items()
            ),
            default=0.0,
        )
        return (result.map50 or 0.0) - max(0.0, lost - self._limits.max_recall_drop)

    def _found(self, image_id: str, logits: Any, codes: Any) -> Found:  # noqa: ANN401
        boxes, scores, class_ids = decode_answers(logits, codes, self._spec)
        names = tuple(self._spec.categories[class_id] for class_id in class_ids)
        return Found(image_id, boxes, scores, names)

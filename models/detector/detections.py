"""What the detector found in one picture."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.detector.boxes import Boxes

Scores = npt.NDArray[np.float32]
ClassIds = npt.NDArray[np.int64]
Embedding = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Boxes of one picture, best first.

    Attributes:
        boxes: ``(N, 4)`` corners ``x1, y1, x2, y2`` in pixels of the picture that was given.
        scores: ``(N,)`` in ``[0, 1]``, falling.
        class_ids: ``(N,)`` places in the spec's ``categories``.
        embedding: ``(D,)`` mean of the deepest feature map, for novelty; None if not computed.
    """

    boxes: Boxes
    scores: Scores
    class_ids: ClassIds
    embedding: Embedding | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def at_least(self, min_score: float) -> "Detections":
        """Only the boxes that score ``min_score`` or more."""
        keep = self.scores >= min_score
        return Detections(self.boxes[keep], self.scores[keep], self.class_ids[keep], self.embedding)

    @classmethod
    def empty(cls) -> "Detections":
        """Nothing found."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

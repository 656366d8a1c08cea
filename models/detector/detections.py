"""What the detector found in one picture."""

from collections.abc import Iterable
from math import inf, isfinite

import numpy as np
import numpy.typing as npt

from models.detector.boxes import Boxes, Scale

Scores = npt.NDArray[np.float32]
ClassIds = npt.NDArray[np.int64]
Embedding = npt.NDArray[np.float32]
Answer = npt.NDArray[np.float32]
"""``(N, 6)``: class id, score, corners in pixels of the network's input."""
Row = tuple[float, float, float, float, float, float]
"""Class id, score, corners in pixels of the picture."""
AS_IT_IS = Scale(1.0, 1.0, inf, inf)


class Detections:
    """Boxes of one picture, best first.

    Args:
        boxes: ``(N, 4)`` corners ``x1, y1, x2, y2`` in pixels of the picture that was given.
        scores: ``(N,)`` in ``[0, 1]``, falling.
        class_ids: ``(N,)`` places in the spec's ``categories``.
        embedding: ``(D,)`` mean of the deepest feature map, for novelty; None if not computed.
    """

    __slots__ = ("_arrays", "_plain", "embedding")

    def __init__(
        self, boxes: Boxes, scores: Scores, class_ids: ClassIds, embedding: Embedding | None = None
    ) -> None:
        self.embedding = embedding
        self._arrays = boxes, scores, class_ids
        self._plain: list[list[float]] | None = None

    @classmethod
    def empty(cls) -> "Detections":
        """Nothing found."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

    @property
    def boxes(self) -> Boxes:
        """``(N, 4)`` corners in pixels of the picture."""
        return self._as_arrays()[0]

    @property
    def scores(self) -> Scores:
        """``(N,)``, falling."""
        return self._as_arrays()[1]

    @property
    def class_ids(self) -> ClassIds:
        """``(N,)`` places in the spec's ``categories``."""
        return self._as_arrays()[2]

    def __len__(self) -> int:
        return len(self.scores)

    def at_least(self, min_score: float) -> "Detections":
        """Only the boxes that score ``min_score`` or more."""
        boxes, scores, class_ids = self._as_arrays()
        keep = scores >= min_score
        return Detections(boxes[keep], scores[keep], class_ids[keep], self.embedding)

    def rows(self, min_score: float) -> list[Row]:
        """Boxes that score ``min_score`` or more as plain numbers: the quickest way to a few."""
        return _scaled(self._as_plain(), AS_IT_IS, min_score)

    def is_finite(self) -> bool:
        """Whether these are numbers; NaN compares as false and would pass a part."""
        # A sum is finite when each of its terms is.
        return isfinite(sum(map(sum, self._as_plain())))

    def _as_arrays(self) -> tuple[Boxes, Scores, ClassIds]:
        return self._arrays

    def _as_plain(self) -> list[list[float]]:
        if self._plain is None:
            boxes, scores, class_ids = self._as_arrays()
            self._plain = np.column_stack((class_ids, scores, boxes)).tolist()
        return self._plain


class Answered(Detections):
    """Detections as a network answered them.

    Arrays are made when somebody asks for them, which is after the verdict: that needs a few plain
    numbers, and after an inference each of numpy's functions comes out of cold caches.

    Args:
        answer: owned by the new object from now on.
        scale: of the picture.
        embedding: ``(D,)``, likewise owned.
    """

    __slots__ = ("_answer", "_is_made", "_scale")

    def __init__(self, answer: Answer, scale: Scale, embedding: Embedding) -> None:
        super().__init__(_NO_BOXES, _NO_SCORES, _NO_IDS, embedding)
        self._answer = answer
        self._scale = scale
        self._is_made = False

    def rows(self, min_score: float) -> list[Row]:
        """As of any detections."""
        return _scaled(self._as_plain(), self._scale, min_score)

    def _as_arrays(self) -> tuple[Boxes, Scores, ClassIds]:
        if not self._is_made:
            class_ids = self._answer[:, 0].astype(np.int64)
            boxes = self._scale.to_picture(self._answer[:, 2:])
            self._arrays = boxes, self._answer[:, 1].copy(), class_ids
            self._is_made = True  # only now: another thread may ask at the same time
        return self._arrays

    def _as_plain(self) -> list[list[float]]:
        if self._plain is None:
            self._plain = self._answer.tolist()
        return self._plain


_NO_BOXES = np.zeros((0, 4), np.float32)
_NO_SCORES = np.zeros(0, np.float32)
_NO_IDS = np.zeros(0, np.int64)


def _scaled(plain: Iterable[list[float]], scale: Scale, min_score: float) -> list[Row]:
    x, y, width, height = scale
    return [
        # The network clips its boxes; what is left to do is the rounding of the scale.
        (class_id, score, x1 * x, y1 * y, min(x2 * x, width), min(y2 * y, height))
        for class_id, score, x1, y1, x2, y2 in plain
        if score >= min_score
    ]

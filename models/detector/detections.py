"""What the detector found in one picture."""

from math import inf, isfinite

import numpy as np
import numpy.typing as npt

from models.detector.boxes import Boxes, Scale

Scores = npt.NDArray[np.float32]
ClassIds = npt.NDArray[np.int64]
Embedding = npt.NDArray[np.float32]
Answer = npt.NDArray[np.float32]
"""``(N, 6)``: class id, score, corners in pixels of the network's input."""
_Arrays = tuple[Boxes, Scores, ClassIds]
Row = tuple[float, float, float, float, float, float]
"""Class id, score, corners in pixels of the picture."""
Spot = tuple[float, float, float, float]
"""Score, centre and area of a box: what a rule asks of it. Pixels of the picture."""
AS_IT_IS = Scale(1.0, 1.0, inf, inf)


class NotFiniteError(ValueError):
    """A model answered with numbers that are none."""


class Detections:
    """Boxes of one picture, best first.

    Args:
        boxes: ``(N, 4)`` corners ``x1, y1, x2, y2`` in pixels of the picture that was given.
        scores: ``(N,)`` in ``[0, 1]``, falling.
        class_ids: ``(N,)`` places in the spec's ``categories``.
        embedding: ``(D,)`` mean of the deepest feature map, for novelty; None if not computed.
    """

    __slots__ = ("_arrays", "_plain", "_scale", "embedding")

    def __init__(
        self, boxes: Boxes, scores: Scores, class_ids: ClassIds, embedding: Embedding | None = None
    ) -> None:
        self.embedding = embedding
        self._arrays = boxes, scores, class_ids
        self._plain: list[list[float]] | None = None
        self._scale = AS_IT_IS

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
        x, y, width, height = self._scale
        return [
            # The network clips its boxes; what is left to do is the rounding of the scale.
            (class_id, score, x1 * x, y1 * y, min(x2 * x, width), min(y2 * y, height))
            for class_id, score, x1, y1, x2, y2 in self._as_plain()
            if score >= min_score
        ]

    def spots(self, min_score: float) -> dict[float, list[Spot]]:
        """Boxes that score ``min_score`` or more by class id, best first.

        One loop over plain numbers: numpy would take longer to begin with each of some twenty
        rules than to answer all of them, and each further function comes out of cold caches.

        Raises:
            NotFiniteError: a number is none, of whichever box; it compares as false with every
                limit and would pass a part.
        """
        if not self.is_finite():
            raise NotFiniteError("the model answered with numbers that are none")
        x, y, _, _ = self._scale
        found: dict[float, list[Spot]] = {}
        for class_id, score, x1, y1, x2, y2 in self._as_plain():
            if score >= min_score:  # more than half of what a detector finds is next to nothing
                spot = score, (x1 + x2) * x / 2, (y1 + y2) * y / 2, (x2 - x1) * x * (y2 - y1) * y
                found.setdefault(class_id, []).append(spot)
        return found

    def is_finite(self) -> bool:
        """Whether all of these are numbers."""
        # A sum is finite when each of its terms is.
        return isfinite(sum(map(sum, self._as_plain())))

    def _as_arrays(self) -> _Arrays:
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

    __slots__ = ("_answer", "_made")

    def __init__(self, answer: Answer, scale: Scale, embedding: Embedding) -> None:
        self.embedding = embedding
        self._plain = None
        self._answer = answer
        self._scale = scale
        self._made: _Arrays | None = None

    def _as_arrays(self) -> _Arrays:
        if self._made is None:
            class_ids = self._answer[:, 0].astype(np.int64)
            boxes = self._scale.to_picture(self._answer[:, 2:])
            self._made = boxes, self._answer[:, 1].copy(), class_ids
        return self._made

    def _as_plain(self) -> list[list[float]]:
        if self._plain is None:
            self._plain = self._answer.tolist()
        return self._plain

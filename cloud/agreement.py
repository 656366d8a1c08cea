"""Whether two people say the same about a picture: boxes matched, then Cohen's kappa. Pure."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from models.detector.boxes import corners_of, iou_matrix

MIN_IOU = 0.5
"""What COCO and VOC count as the same box."""
NOTHING = ""

NamedBox = tuple[str, tuple[float, float, float, float]]
"""Category and ``x, y, width, height`` in pixels."""
Pair = tuple[str, str]
"""What the first and the second called the same thing; `NOTHING`: did not mark it."""


@dataclass(frozen=True, slots=True)
class SecondReview:
    """Which labels a second person must see before they count.

    Attributes:
        share: Part of all pictures, chosen by their hash, ``[0, 1]``.
        categories: Pictures on which the first reviewer marked one of these, always.
        min_iou: Boxes that overlap less are not the same.
    """

    share: float = 0.0
    categories: frozenset[str] = frozenset()
    min_iou: float = MIN_IOU

    def wanted(self, sha256: str, marked: Iterable[str]) -> bool:
        """Whether a picture with these categories marked needs a second look.

        The choice hangs on the picture alone: nobody can have it made again.
        """
        if self.categories & set(marked):
            return True
        digest = hashlib.sha256(f"second look at {sha256}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 < self.share


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of laying two reviewers' boxes over each other."""

    pairs: tuple[Pair, ...]
    mean_iou: float | None

    @property
    def is_agreed(self) -> bool:
        """Whether both marked the same things and called them the same."""
        return all(first == second for first, second in self.pairs)


def compare(
    first: Sequence[NamedBox], second: Sequence[NamedBox], *, min_iou: float = MIN_IOU
) -> Comparison:
    """Match boxes one to one, the best overlap first, whatever they are called.

    Where overlaps tie, boxes of the same category go together. A box without a partner is paired
    with `NOTHING`.
    """
    pairs: list[Pair] = []
    overlaps: list[float] = []
    free_first, free_second = set(range(len(first))), set(range(len(second)))
    for overlap, one, other in _candidates(first, second, min_iou):
        if one in free_first and other in free_second:
            free_first.remove(one)
            free_second.remove(other)
            pairs.append((first[one][0], second[other][0]))
            overlaps.append(overlap)
    pairs += [(first[one][0], NOTHING) for one in sorted(free_first)]
    pairs += [(NOTHING, second[other][0]) for other in sorted(free_second)]
    return Comparison(tuple(pairs), round(float(np.mean(overlaps)), 4) if overlaps else None)


def _candidates(
    first: Sequence[NamedBox], second: Sequence[NamedBox], min_iou: float
) -> list[tuple[float, int, int]]:
    if not first or not second:
        return []
    overlap = iou_matrix(
        corners_of(np.array([box for _, box in first], np.float32)),
        corners_of(np.array([box for _, box in second], np.float32)),
    )
    found = [
        (round(float(overlap[one, other]), 6), one, other)
        for one, other in np.argwhere(overlap >= min_iou).tolist()
    ]
    return sorted(
        found, key=lambda entry: (-entry[0], first[entry[1]][0] != second[entry[2]][0], entry)
    )


def cohens_kappa(pairs: Collection[Pair]) -> float | None:
    """Agreement beyond chance (Cohen 1960): 1 for always, 0 for as often as by chance.

    None where nothing was compared, or where both always said one and the same word, when chance
    alone would agree too.
    """
    if not pairs:
        return None
    total = len(pairs)
    observed = sum(first == second for first, second in pairs) / total
    by_first = Counter(first for first, _ in pairs)
    by_second = Counter(second for _, second in pairs)
    expected = sum(by_first[word] * by_second[word] for word in by_first) / total**2
    if expected >= 1.0:
        return None
    return (observed - expected) / (1.0 - expected)

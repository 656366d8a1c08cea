"""Pictures that show the same scene again: another encoding, size or light, a second exposure.

The common perceptual hashes (average, difference, DCT) call all parts of one type duplicates of
each other, with or without the defect: a missing bolt turns one bit. So a picture's print here is
a small grey picture, and every one of its cells must agree.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from models.detector.preprocess import Image

PRINT_SIDE = 32
"""A cell of a 640 x 640 picture averages 400 pixels, which takes a sensor's noise down to a
twentieth and an encoder's to a level, and still shows a pin-hole of 6 pixels."""
MAX_DIFFERENCE = 10
"""Levels by which no cell of a near-duplicate differs, after both have the same contrast. Measured
on photographs and on binarised boards: JPEG at quality 40, half the size, light and noise give 4
at most, a shift by a pixel 9, a shift by three 15 or more, two different parts 46 or more."""
COMMON_DEVIATION = 40.0
# A nearly empty picture has no contrast to speak of; stretching its noise would make it another.
MIN_DEVIATION = 10.0
COARSE_SIDE = 4
PAIRS_AT_ONCE = 200_000
FEW_STEP = 15
"""Every so many cells: 69 of a print's 1,024, spread over all its columns."""

Prints = npt.NDArray[np.uint8]
"""``(N, PRINT_SIDE ** 2)``."""


def picture_print(image: Image) -> bytes:
    """Print of a picture, `PRINT_SIDE` squared bytes.

    Args:
        image: ``(H, W, 3)`` BGR.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (PRINT_SIDE, PRINT_SIDE), interpolation=cv2.INTER_AREA)
    cells = small.astype(np.float32)
    stretch = COMMON_DEVIATION / max(float(cells.std()), MIN_DEVIATION)
    levels = np.clip((cells - cells.mean()) * stretch + 128, 0, 255)
    return bytes(np.round(levels).astype(np.uint8).tobytes())


def near_pairs(prints: Sequence[bytes]) -> npt.NDArray[np.int64]:
    """All pairs of near-duplicates.

    Returns:
        ``(P, 2)`` places in ``prints``, the smaller first, in rising order.
    """
    fine: Prints = np.frombuffer(b"".join(prints), np.uint8).reshape(-1, PRINT_SIDE**2)
    few = np.ascontiguousarray(fine[:, ::FEW_STEP])
    # Hardly a pair agrees in a few cells and not in all: so few pairs are compared in all.
    found = [_agreeing(_agreeing(pairs, few), fine) for pairs in _coarse_pairs(fine)]
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *found])
    pairs.sort(axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _agreeing(pairs: npt.NDArray[np.int64], cells: Prints) -> npt.NDArray[np.int64]:
    differences = np.abs(cells[pairs[:, 0]].astype(np.int16) - cells[pairs[:, 1]])
    agreeing: npt.NDArray[np.int64] = pairs[differences.max(axis=1, initial=0) <= MAX_DIFFERENCE]
    return agreeing


def _coarse_pairs(fine: Prints) -> Iterator[npt.NDArray[np.int64]]:
    """Pairs that may be near: the mean over a block differs no more than its cells do.

    Sorted by the block that tells most, each picture meets only those that are close in it.
    """
    block = PRINT_SIDE // COARSE_SIDE
    coarse = fine.reshape(-1, COARSE_SIDE, block, COARSE_SIDE, block).mean(axis=(2, 4))
    coarse = coarse.reshape(len(fine), COARSE_SIDE**2).astype(np.float32)
    if not len(coarse):
        return
    telling = coarse[:, coarse.std(axis=0).argmax()]
    order = np.argsort(telling, kind="stable")
    sorted_telling = telling[order]
    ends = np.searchsorted(sorted_telling, sorted_telling + MAX_DIFFERENCE, side="right")
    counts = ends - np.arange(len(order)) - 1
    totals = np.cumsum(counts)
    first = 0
    while first < len(order):
        limit = (totals[first - 1] if first else 0) + PAIRS_AT_ONCE
        last = max(first + 1, int(np.searchsorted(totals, limit)))
        own = counts[first:last]
        left = np.repeat(np.arange(first, last), own)
        right = left + 1 + np.arange(own.sum()) - np.repeat(np.cumsum(own) - own, own)
        pairs = np.stack([order[left], order[right]], axis=1)
        apart = np.abs(coarse[pairs[:, 0]] - coarse[pairs[:, 1]]).max(axis=1, initial=0)
        yield pairs[apart <= MAX_DIFFERENCE]
        first = last


def groups(count: int, pairs: npt.NDArray[np.int64]) -> list[list[int]]:
    """Sets of places that pairs join, directly or through others; each of two or more, sorted."""
    parents = list(range(count))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = parents[place]
        return place

    for left, right in pairs.tolist():
        first, second = sorted((root(left), root(right)))
        parents[second] = first
    found: dict[int, list[int]] = {}
    for place in range(count):
        found.setdefault(root(place), []).append(place)
    return [members for members in found.values() if len(members) > 1]

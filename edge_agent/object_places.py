"""Finds the places of a part's objects from where they were seen in several pictures. No I/O."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
NUM_ROUNDS = 4
"""Of assigning objects to places and moving the places; they stand still after two or three."""
ALONE_REACH = 3.0
"""How far from its place a single object may be, in its own sizes."""


@dataclass(frozen=True, slots=True)
class SeenBox:
    """One box of one picture."""

    category: str
    x: float
    """Of its centre, pixels; so is ``y``."""
    y: float
    width: float
    height: float
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where an object is on every part, or ``count`` of them that change places."""

    category: str
    seen: tuple[SeenBox, ...]
    missing_in: tuple[int, ...] = ()
    """Pictures without one, by their place in the sequence."""
    count: int = 1

    @property
    def points(self) -> Points:
        """``(N, 2)`` centres."""
        return np.array([(box.x, box.y) for box in self.seen])

    @property
    def centre(self) -> Points:
        """``(2,)`` middle of the centres."""
        middle: Points = np.median(self.points, axis=0)
        return middle

    @property
    def range(self) -> tuple[Points, Points]:
        """``(2,)`` lowest and highest x and y."""
        return self.points.min(axis=0), self.points.max(axis=0)

    @property
    def spread(self) -> Points:
        """``(2,)`` standard deviation of x and y."""
        deviation: Points = self.points.std(axis=0)
        return deviation

    @property
    def size(self) -> Points:
        """``(2,)`` usual width and height of the object."""
        middle: Points = np.median([(box.width, box.height) for box in self.seen], axis=0)
        return middle

    @property
    def scores(self) -> tuple[float, float]:
        """Lowest and highest."""
        scores = [box.score for box in self.seen]
        return min(scores), max(scores)


def find_places(pictures: Sequence[Sequence[SeenBox]], threshold: float) -> list[Place]:
    """Places of one category, in reading order.

    How many there are, most pictures say; where they are, the surest of those pictures, corrected
    by all others. An object too weak to count is taken where nothing better stands at its place.

    Args:
        pictures: boxes of the category in each picture, also weak ones.
        threshold: score from which a box counts.
    """
    strong = [[box for box in boxes if box.score >= threshold] for boxes in pictures]
    usual, _ = max(Counter(map(len, strong)).items(), key=lambda item: (item[1], item[0]))
    if usual == 0:
        return []
    surest = max(
        (boxes for boxes in strong if len(boxes) == usual),
        key=lambda boxes: min(box.score for box in boxes),
    )
    places = np.array([(box.x, box.y) for box in surest])
    near = _reach(places, surest)
    # Where all are seen, each has its place, however far the part was shifted.
    reaches = [np.inf if len(boxes) == usual else near for boxes in strong]
    for _ in range(NUM_ROUNDS):
        assigned = [_assign(b, places, reach) for b, reach in zip(strong, reaches, strict=True)]
        for k in range(usual):
            found = [(boxes[k].x, boxes[k].y) for boxes in assigned if k in boxes]
            places[k] = np.median(found, axis=0) if found else places[k]
    final = [
        _assign(strong[i] if reaches[i] > near else boxes, places, reaches[i])
        for i, boxes in enumerate(pictures)
    ]
    category = surest[0].category
    drafts = [
        Place(
            category,
            tuple(boxes[k] for boxes in final if k in boxes),
            tuple(i for i, boxes in enumerate(final) if k not in boxes),
        )
        for k in range(usual)
    ]
    return _in_reading_order(_joined(drafts))


def _reach(places: Points, boxes: Sequence[SeenBox]) -> float:
    """How far from a place its object may be: half the way to the next place."""
    if len(places) == 1:
        return ALONE_REACH * max(boxes[0].width, boxes[0].height)
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return float(distances.min()) / 2


def _assign(boxes: Sequence[SeenBox], places: Points, reach: float) -> dict[int, SeenBox]:
    """One box for each place at most: the strong before the weak, then the near before the far."""
    pairs = []
    for index, box in enumerate(boxes):
        for k, (x, y) in enumerate(places):
            distance = float(np.hypot(box.x - x, box.y - y))
            if distance <= reach:
                pairs.append((-round(box.score, 1), distance, k, index))
    taken: dict[int, SeenBox] = {}
    used: set[int] = set()
    for _, _, k, index in sorted(pairs):
        if k not in taken and index not in used:
            taken[k] = boxes[index]
            used.add(index)
    return taken


def _joined(places: list[Place]) -> list[Place]:
    """Objects whose places overlap cannot be told apart: one place that holds several."""
    done: list[Place] = []
    for place in places:
        low, high = place.range
        for index, other in enumerate(done):
            other_low, other_high = other.range
            if (low <= other_high).all() and (other_low <= high).all():
                missing = tuple(sorted({*place.missing_in, *other.missing_in}))
                done[index] = Place(
                    place.category, place.seen + other.seen, missing, place.count + other.count
                )
                break
        else:
            done.append(place)
    return done


def _in_reading_order(places: list[Place]) -> list[Place]:
    """Row by row; what stands less than half an object lower is in the same row."""
    ordered: list[Place] = []
    row: list[Place] = []
    for place in sorted(places, key=lambda place: place.centre[1]):
        if row and place.centre[1] - row[0].centre[1] > row[0].size[1] / 2:
            ordered += sorted(row, key=lambda place: place.centre[0])
            row = []
        row.append(place)
    return ordered + sorted(row, key=lambda place: place.centre[0])

"""What a detector gets wrong at its operating points: which boxes, and what it takes for what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from models.contract.model import Frozen
from models.contract.proportions import wilson_interval
from models.detector.boxes import Boxes, iou_matrix
from models.training.answers import Found, Truth
from models.training.box_matching import MATCH_IOU, ClassMatches
from models.training.operating_point import Costs

NOTHING = "nothing"
"""In a confusion matrix: a label that nothing met, or a box that met no label."""
PER_THOUSAND = 1000


@dataclass(frozen=True, slots=True)
class Mistake:
    """A miss or a false alarm.

    Attributes:
        kind: what it is.
        image_id: its picture.
        category: of the label that was missed, or of the box that is wrong.
        box: corners in pixels of the picture.
        score: of the wrong box; of a miss the score that its box got, below the threshold, or 0.
    """

    kind: Literal["miss", "false alarm"]
    image_id: str
    category: str
    box: tuple[float, float, float, float]
    score: float


class Confusion(Frozen):
    """How often a labelled category (row) was found as another (column).

    ``names`` are the categories and, last, `NOTHING`; nothing was never taken for nothing.
    """

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


class CleanPictures(Frozen):
    """False alarms of defects where no defect is labelled.

    Attributes:
        num_images: defect-free pictures that were judged.
        false_alarms_per_1000: boxes of defects per 1,000 such pictures; None where there are none.
        rejected_ratio: share of such pictures with at least one, with its 95 % Wilson interval.
        note: why there are no figures; empty otherwise.
    """

    num_images: int = Field(default=0, ge=0)
    false_alarms_per_1000: float | None = None
    rejected_ratio: float | None = None
    rejected_low: float | None = None
    rejected_high: float | None = None
    note: str = ""


def worst_mistakes(
    matches: Mapping[str, ClassMatches],
    thresholds: Mapping[str, float],
    image_ids: Sequence[str],
    *,
    defects: frozenset[str],
    costs: Costs,
    count: int = 24,
) -> list[Mistake]:
    """The mistakes that cost most, misses and false alarms in equal number where there are both.

    Of two that cost the same, the surer one is the worse: a miss with a lower score, a false alarm
    with a higher one.

    Args:
        matches: of every class on the same pictures.
        thresholds: operating point of each class.
        image_ids: of the pictures, in the order of their places.
        defects: categories that are defects.
        costs: of an escape and of a false reject.
        count: how many to list.
    """
    misses: list[tuple[float, Mistake]] = []
    alarms: list[tuple[float, Mistake]] = []
    for name, own in matches.items():
        limit, is_defect = thresholds[name], name in defects
        cost = costs.escape if is_defect else costs.false_reject
        for place in np.flatnonzero(own.label_scores < limit):
            score = float(own.label_scores[place])
            picture = image_ids[own.label_pictures[place]]
            mistake = Mistake("miss", picture, name, _corners(own.label_boxes[place]), score)
            misses.append((cost + 1 - score, mistake))
        cost = costs.false_reject if is_defect else costs.escape
        for place in np.flatnonzero((own.scores >= limit) & ~own.hits):
            score = float(own.scores[place])
            picture = image_ids[own.pictures[place]]
            mistake = Mistake("false alarm", picture, name, _corners(own.boxes[place]), score)
            alarms.append((cost + score, mistake))
    room_for_misses = max(count // 2, count - len(alarms))
    chosen = _worst(misses, room_for_misses)
    return chosen + _worst(alarms, count - len(chosen))


def confusion_of(
    truths: Sequence[Truth],
    found: Sequence[Found],
    categories: Sequence[str],
    thresholds: Mapping[str, float],
) -> Confusion:
    """Pair labels and boxes by place alone, whatever their categories.

    From the highest score down, each box at or above its operating point takes the label that it
    overlaps most, at `MATCH_IOU` or more; among equals one of its own category.
    """
    places = {name: place for place, name in enumerate(categories)}
    counts = np.zeros((len(places) + 1, len(places) + 1), int)
    answers = {answer.image_id: answer for answer in found}
    for truth in truths:
        labels = [places.get(name, -1) for name in truth.categories]
        free = [place for place, label in enumerate(labels) if label >= 0]
        answer = answers.get(truth.image_id)
        for box, category in _counted(answer, thresholds, places) if answer else ():
            met = _met_label(box, category, truth.boxes, labels, free)
            if met is None:
                counts[-1, category] += 1
            else:
                free.remove(met)
                counts[labels[met], category] += 1
        for place in free:
            counts[labels[place], -1] += 1
    rows = tuple(tuple(row) for row in counts.tolist())
    return Confusion(names=(*categories, NOTHING), counts=rows)


def judge_clean_pictures(
    truths: Sequence[Truth],
    found: Sequence[Found],
    thresholds: Mapping[str, float],
    *,
    defects: frozenset[str],
) -> CleanPictures:
    """Count the defects that are found in pictures without any."""
    if not defects:
        return CleanPictures(note="no category is a defect")
    clean = {truth.image_id for truth in truths if not defects & set(truth.categories)}
    if not clean:
        return CleanPictures(note="no defect-free pictures")
    alarms = [
        sum(
            name in defects and score >= thresholds[name]
            for name, score in zip(answer.categories, answer.scores.tolist(), strict=True)
        )
        for answer in found
        if answer.image_id in clean
    ]
    rejected = sum(count > 0 for count in alarms)
    low, high = wilson_interval(rejected, len(clean))
    return CleanPictures(
        num_images=len(clean),
        false_alarms_per_1000=round(PER_THOUSAND * sum(alarms) / len(clean), 1),
        rejected_ratio=round(rejected / len(clean), 4),
        rejected_low=round(low, 4),
        rejected_high=round(high, 4),
    )


def _worst(graded: list[tuple[float, Mistake]], count: int) -> list[Mistake]:
    graded.sort(key=lambda pair: (-pair[0], pair[1].image_id, pair[1].box))
    return [mistake for _, mistake in graded[:count]]


def _counted(
    answer: Found, thresholds: Mapping[str, float], places: Mapping[str, int]
) -> list[tuple[Boxes, int]]:
    """Boxes that count and the places of their categories, the best score first."""
    rows = zip(answer.boxes, answer.scores.tolist(), answer.categories, strict=True)
    kept = [
        (score, box, places[name])
        for box, score, name in rows
        if name in places and score >= thresholds[name]
    ]
    return [(box, place) for _, box, place in sorted(kept, key=lambda entry: -entry[0])]


def _met_label(
    box: Boxes, category: int, boxes: Boxes, labels: Sequence[int], free: Sequence[int]
) -> int | None:
    if not free:
        return None
    overlap = iou_matrix(box[None], boxes[list(free)])[0]
    best = max(
        range(len(free)),
        key=lambda place: (round(float(overlap[place]), 3), labels[free[place]] == category),
    )
    return free[best] if overlap[best] >= MATCH_IOU else None


def _corners(box: Boxes) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (round(float(value), 1) for value in box)
    return x1, y1, x2, y2

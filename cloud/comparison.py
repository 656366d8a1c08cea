"""Two models on the same labelled pictures: where they differ, and which labels look wrong. Pure.

A found box hits a label of its category when they overlap by `MIN_IOU`, best score first, as COCO
counts it. What counts as found is decided by each model's own operating points.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from models.contract.picture_results import CANDIDATE, RUNNING, FoundBox, PictureResult, TrueBox
from models.detector.boxes import corners_of, iou_matrix

MIN_IOU = 0.5
NEAR_IOU = 0.3
"""A find that overlaps a label this much is about the same thing, however it is drawn."""
DEFAULT_THRESHOLD = 0.5
SURE_SCORE = 0.8
"""From this score on a model is confident; below it a doubt about a label is not worth a look."""
FAINT_SCORE = 0.1
"""Below it a model has seen nothing."""


@dataclass(frozen=True, slots=True)
class Faults:
    """One model on one picture.

    Attributes:
        hits: Found boxes that hit a label.
        misses: Labels that no found box hits.
        extras: Found boxes that hit no label.
    """

    hits: tuple[FoundBox, ...] = ()
    misses: tuple[TrueBox, ...] = ()
    extras: tuple[FoundBox, ...] = ()

    def of(self, category: str | None) -> "Faults":
        """Only what concerns one category; all of it without one."""
        if category is None:
            return self
        return Faults(
            tuple(box for box in self.hits if box.category == category),
            tuple(box for box in self.misses if box.category == category),
            tuple(box for box in self.extras if box.category == category),
        )

    @property
    def count(self) -> int:
        """Misses and extras."""
        return len(self.misses) + len(self.extras)

    @property
    def signature(self) -> tuple[tuple[str, ...], ...]:
        """What went wrong, without where."""
        return (
            tuple(sorted(box.category for box in self.misses)),
            tuple(sorted(box.category for box in self.extras)),
        )


class Change(StrEnum):
    """The candidate on one picture, beside the running model."""

    WORSE = "worse"
    BETTER = "better"
    DIFFERENT = "different"
    """As many faults, but others."""
    SAME = "same"


@dataclass(frozen=True, slots=True)
class ComparedPicture:
    """One picture and what each model made of it."""

    image_id: str
    labels: tuple[TrueBox, ...]
    candidate: Faults
    running: Faults | None

    def change(self, category: str | None = None) -> Change:
        """How the candidate does, in all or on one category; without a running model: same."""
        if self.running is None:
            return Change.SAME
        after, before = self.candidate.of(category), self.running.of(category)
        if after.count != before.count:
            return Change.BETTER if after.count < before.count else Change.WORSE
        return Change.SAME if after.signature == before.signature else Change.DIFFERENT

    def categories(self) -> set[str]:
        """Everything that is labelled or was found."""
        faults = [self.candidate, *([self.running] if self.running else [])]
        found = {box.category for one in faults for box in (*one.hits, *one.extras)}
        return found | {label.category for label in self.labels}


def compare_picture(
    picture: PictureResult, thresholds: Mapping[str, Mapping[str, float]]
) -> ComparedPicture:
    """Lay both models' finds over the labels.

    Args:
        picture: From the run's file.
        thresholds: Operating points by role and category.
    """
    faults = {
        role: faults_of(picture.labels, found, thresholds.get(role, {}))
        for role, found in picture.found.items()
    }
    return ComparedPicture(
        picture.image_id, picture.labels, faults.get(CANDIDATE, Faults()), faults.get(RUNNING)
    )


def faults_of(
    labels: Sequence[TrueBox], found: Sequence[FoundBox], thresholds: Mapping[str, float]
) -> Faults:
    """What one model got right and wrong at its operating points."""
    counted = [box for box in found if box.score >= thresholds.get(box.category, DEFAULT_THRESHOLD)]
    counted.sort(key=lambda box: -box.score)
    overlap = _overlap(counted, labels)
    free = set(range(len(labels)))
    hits, extras = [], []
    for place, box in enumerate(counted):
        fitting = [
            (float(overlap[place, label]), -label)
            for label in free
            if labels[label].category == box.category and overlap[place, label] >= MIN_IOU
        ]
        if fitting:
            free.remove(-max(fitting)[1])
            hits.append(box)
        else:
            extras.append(box)
    misses = tuple(labels[label] for label in sorted(free))
    return Faults(tuple(hits), misses, tuple(extras))


class DoubtKind(StrEnum):
    """What a label seems to lack."""

    UNLABELLED = "unlabelled"
    """The model is sure of something that nobody marked."""
    OTHER_CATEGORY = "other_category"
    """The model is sure that it is something else."""
    NOTHING_THERE = "nothing_there"
    """Somebody marked what the model does not see at all."""


@dataclass(frozen=True, slots=True)
class LabelDoubt:
    """A label that is likely wrong: a model that is right elsewhere disagrees with confidence."""

    image_id: str
    kind: DoubtKind
    category: str
    """What the model says, or, where it sees nothing, what is labelled."""
    labelled_as: str
    """Empty where nothing is labelled."""
    confidence: float
    bbox: tuple[float, float, float, float]


def label_doubts(
    image_id: str, labels: Sequence[TrueBox], found: Sequence[FoundBox]
) -> list[LabelDoubt]:
    """Doubts about one picture's labels, the surest first.

    Args:
        image_id: Of the picture.
        labels: What people marked.
        found: What the model found, down to faint scores; best first.
    """
    overlap = _overlap(found, labels)
    doubts = [
        doubt
        for place, box in enumerate(found)
        if box.score >= SURE_SCORE
        for doubt in _about_find(image_id, box, labels, overlap[place])
    ]
    for number, label in enumerate(labels):
        seen = [
            box.score
            for place, box in enumerate(found)
            if overlap[place, number] >= NEAR_IOU and box.score >= FAINT_SCORE
        ]
        if not seen:
            doubts.append(
                LabelDoubt(
                    image_id,
                    DoubtKind.NOTHING_THERE,
                    label.category,
                    label.category,
                    1.0 - FAINT_SCORE,
                    label.bbox,
                )
            )
    return sorted(doubts, key=lambda doubt: -doubt.confidence)


def _about_find(
    image_id: str, box: FoundBox, labels: Sequence[TrueBox], overlap: "np.ndarray"
) -> Iterable[LabelDoubt]:
    near = [number for number in range(len(labels)) if overlap[number] >= NEAR_IOU]
    if any(labels[number].category == box.category for number in near):
        return
    on = [number for number in near if overlap[number] >= MIN_IOU]
    if on:
        label = labels[max(on, key=lambda number: float(overlap[number]))].category
        kind = DoubtKind.OTHER_CATEGORY
    elif near:
        return  # drawn differently: no doubt about what it is
    else:
        kind, label = DoubtKind.UNLABELLED, ""
    yield LabelDoubt(image_id, kind, box.category, label, box.score, box.bbox)


def _overlap(
    found: Sequence[FoundBox], labels: Sequence[TrueBox]
) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    if not found or not labels:
        return np.zeros((len(found), len(labels)), np.float32)
    return iou_matrix(
        corners_of(np.array([box.bbox for box in found], np.float32)),
        corners_of(np.array([box.bbox for box in labels], np.float32)),
    )

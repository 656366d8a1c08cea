"""A second model's opinion on a part that was judged already; never before the verdict is out."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_agent.agreement import counted_boxes, disagree
from edge_agent.errors import ModelFault
from edge_agent.hard_examples import effective_thresholds
from edge_agent.judgement import LabelMap, judge_view
from edge_agent.ports import CycleOutcome, Detector
from edge_agent.update_rules import counted_reasons
from models.contract.messages import Reason
from models.contract.recipe import NOfM
from models.detector.boxes import Boxes, iou_matrix
from models.detector.detections import Detections

Box = npt.NDArray[np.float32]


EXPLAINED_IOU = 0.3
"""Overlap from which a box of a newly learned category explains another one at its place."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """Whether a model rejects a part: for what both know, and for whatever reason."""

    rejects_known: bool
    rejects: bool

    @classmethod
    def of(cls, reasons: tuple[Reason, ...], known: Collection[str]) -> "Opinion":
        """From a judgement's reasons and the categories that both models know."""
        return cls(bool(counted_reasons(reasons, known)), bool(reasons))


@dataclass(frozen=True, slots=True)
class SecondLook:
    """How two models differ on one part, apart from what only one of them was taught.

    Attributes:
        sees_other_boxes: one finds a box that the other does not: worth a person's look.
        is_explained: one finds a category that the other was never taught: they must differ.
        first: of the model that judged.
        second: of the one that looked after.
    """

    sees_other_boxes: bool
    is_explained: bool
    first: Opinion
    second: Opinion


def second_look(cycle: CycleOutcome, judge: Detector, other: Detector) -> SecondLook:
    """Let ``other`` look at what ``judge`` has judged.

    Where one finds a category that the other does not know, the two must differ: a torn label is
    a label to a model that never saw one. Such a difference is not held against either.

    Raises:
        ModelFault: the other model does not answer, or not with numbers.
        ValueError: the cycle has no picture, or nothing was found in it because nobody looked.
    """
    if cycle.frame is None or cycle.detections is None:
        raise ValueError("a second look needs a first one")
    found = other.infer(cycle.frame.image)
    if not found.is_finite():
        raise ModelFault("the model answers with numbers that are none")
    known = set(judge.categories) & set(other.categories)
    first = counted_boxes(
        cycle.detections, cycle.categories, effective_thresholds(cycle.view, cycle.thresholds)
    )
    second = counted_boxes(
        found, other.categories, effective_thresholds(cycle.view, other.thresholds)
    )
    newly_learned = [
        box
        for name, boxes in (*first.items(), *second.items())
        if name not in known
        for box in boxes
    ]
    return SecondLook(
        sees_other_boxes=disagree(
            _without(first, newly_learned), _without(second, newly_learned), known_to_both=known
        ),
        is_explained=bool(newly_learned),
        first=Opinion.of(cycle.reasons, known),
        second=Opinion.of(_reasons(cycle, found, other), known),
    )


def _without(named: Mapping[str, Boxes], explaining: Sequence[Box]) -> dict[str, Boxes]:
    if not explaining:
        return dict(named)
    kept = {
        name: boxes[iou_matrix(boxes, np.array(explaining)).max(axis=1) < EXPLAINED_IOU]
        for name, boxes in named.items()
    }
    return {name: boxes for name, boxes in kept.items() if len(boxes)}


def _reasons(cycle: CycleOutcome, found: Detections, other: Detector) -> tuple[Reason, ...]:
    single = cycle.recipe.model_copy(update={"n_of_m": NOfM()})
    label_map = LabelMap(other.categories, other.thresholds)
    _, reasons = judge_view([found], cycle.view, single, label_map)
    return reasons

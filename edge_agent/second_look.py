"""A second model's opinion on a part that was judged already; never before the verdict is out."""

from collections.abc import Collection
from dataclasses import dataclass

from edge_agent.agreement import counted_boxes, disagree
from edge_agent.errors import ModelFault
from edge_agent.hard_examples import effective_thresholds
from edge_agent.judgement import LabelMap, is_sound, judge_view
from edge_agent.ports import CycleOutcome, Detector
from edge_agent.update_rules import counted_reasons
from models.contract.recipe import NOfM
from models.detector.detections import Detections


@dataclass(frozen=True, slots=True)
class SecondLook:
    """How two models differ on one part, over the categories that both know.

    Attributes:
        sees_other_boxes: one finds a box that the other does not: worth a person's look.
        judges_otherwise: one would pass the part and the other would not.
    """

    sees_other_boxes: bool
    judges_otherwise: bool


def second_look(cycle: CycleOutcome, judge: Detector, other: Detector) -> SecondLook:
    """Let ``other`` look at what ``judge`` has judged.

    Raises:
        ModelFault: the other model does not answer, or not with numbers.
        ValueError: the cycle has no picture, or nothing was found in it because nobody looked.
    """
    if cycle.frame is None or cycle.detections is None:
        raise ValueError("a second look needs a first one")
    found = other.infer(cycle.frame.image)
    if not is_sound(found):
        raise ModelFault("the model answers with numbers that are none")
    known = set(judge.categories) & set(other.categories)
    return SecondLook(
        _sees_other_boxes(cycle, cycle.detections, found, other, known),
        _judges_otherwise(cycle, found, other, known),
    )


def _sees_other_boxes(
    cycle: CycleOutcome,
    seen: Detections,
    found: Detections,
    other: Detector,
    known: Collection[str],
) -> bool:
    limits = effective_thresholds(cycle.view, cycle.thresholds)
    other_limits = effective_thresholds(cycle.view, other.thresholds)
    return disagree(
        counted_boxes(seen, cycle.categories, limits),
        counted_boxes(found, other.categories, other_limits),
        known_to_both=known,
    )


def _judges_otherwise(
    cycle: CycleOutcome, found: Detections, other: Detector, known: Collection[str]
) -> bool:
    single = cycle.recipe.model_copy(update={"n_of_m": NOfM()})
    label_map = LabelMap(other.categories, other.thresholds)
    _, reasons = judge_view([found], cycle.view, single, label_map)
    return bool(counted_reasons(cycle.reasons, known)) != bool(counted_reasons(reasons, known))

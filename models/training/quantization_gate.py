"""May the INT8 file replace its float parent? Pure rules, and the search for a recipe that may.

Both are judged on the same pictures at the same operating points. INT8 passes where

- mAP@0.5 is at most `GateLimits.max_map50_drop` lower, and
- no class's recall at its operating point is more than `GateLimits.max_recall_drop` lower.

Where the first recipe fails, the others are tried while the time lasts, the cheaper ones first. If
none passes the bundle ships in float: slower, and right.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from models.contract.bundle import QuantizationAttempt, QuantizationRecord, RecallPair
from models.contract.model import Frozen
from models.training.errors import OutOfTimeError
from models.training.metrics import Evaluation
from models.training.quantize import RECIPES, Recipe

# Two figures that print the same are the same: 0.96 - 0.955 is not more than 0.005.
ROUNDING = 1e-9

Made = TypeVar("Made")


class GateLimits(Frozen):
    """What INT8 may lose against float."""

    max_map50_drop: float = 0.005
    max_recall_drop: float = 0.01


@dataclass(frozen=True, slots=True)
class Tried(Generic[Made]):
    """What a recipe made, and the figures of it and of float at its operating points."""

    made: Made
    int8: Evaluation
    float_model: Evaluation


@dataclass(frozen=True, slots=True)
class Search(Generic[Made]):
    """How a search ended.

    Attributes:
        chosen: the attempt that passed, else the best one; None where not even one could be made.
        record: for report, manifest and card.
    """

    chosen: Tried[Made] | None
    record: QuantizationRecord


def faults_of(int8: Evaluation, float_model: Evaluation, limits: GateLimits) -> tuple[str, ...]:
    """Why INT8 may not ship, a line each; empty when it may."""
    faults = []
    after, before = int8.map50 or 0.0, float_model.map50 or 0.0
    if before - after > limits.max_map50_drop + ROUNDING:
        faults.append(f"mAP@0.5 {after:.4f} against {before:.4f}")
    for name, own in sorted(float_model.per_class.items()):
        found = int8.per_class.get(name)
        recall = (found.recall if found else None) or 0.0
        if own.recall is not None and own.recall - recall > limits.max_recall_drop + ROUNDING:
            faults.append(f"recall of {name} {recall:.4f} against {own.recall:.4f}")
    return tuple(faults)


def search(
    try_one: Callable[[Recipe], Tried[Made]],
    *,
    seconds_left: Callable[[], float],
    limits: GateLimits | None = None,
    recipes: Sequence[Recipe] = RECIPES,
    tell: Callable[[str], None] | None = None,
) -> Search[Made]:
    """Try recipes until one passes or the time is over; the first is always tried.

    Args:
        try_one: quantizes and measures. May raise `OutOfTimeError`.
        seconds_left: until the search must be over.
        limits: of the gate.
        recipes: in the order in which to try them.
        tell: gets a line about each recipe that did not pass.
    """
    limits = limits or GateLimits()
    attempts: list[QuantizationAttempt] = []
    best: Tried[Made] | None = None
    first_s = 0.0
    for recipe in recipes:
        before = seconds_left()
        if attempts and before < first_s * recipe.effort:
            attempts.append(QuantizationAttempt(recipe=recipe.name, faults=("no time left",)))
            continue
        try:
            tried = try_one(recipe)
        except OutOfTimeError as error:
            attempts.append(QuantizationAttempt(recipe=recipe.name, faults=(str(error),)))
            continue
        seconds = before - seconds_left()
        first_s = first_s or seconds
        faults = faults_of(tried.int8, tried.float_model, limits)
        attempts.append(
            QuantizationAttempt(
                recipe=recipe.name,
                map50=tried.int8.map50,
                seconds=round(seconds, 1),
                faults=faults,
            )
        )
        if faults and tell is not None:
            tell(f"INT8 by {recipe.name} loses too much: {', '.join(faults)}")
        if best is None or (tried.int8.map50 or 0.0) > (best.int8.map50 or 0.0) or not faults:
            best = tried
        if not faults:
            break
    return Search(best, _record(best, attempts, limits))


def _record(
    best: Tried[Made] | None, attempts: Sequence[QuantizationAttempt], limits: GateLimits
) -> QuantizationRecord:
    last = attempts[-1]
    passed = best is not None and not last.faults
    if passed:
        reason = f"{last.recipe} keeps within the limits"
    else:
        tried = "; ".join(f"{own.recipe}: {', '.join(own.faults)}" for own in attempts)
        reason = f"no recipe kept within the limits ({tried})"
    return QuantizationRecord(
        shipped="int8" if passed else "f32",
        recipe=last.recipe if passed else None,
        reason=reason,
        max_map50_drop=limits.max_map50_drop,
        max_recall_drop=limits.max_recall_drop,
        int8_map50=best.int8.map50 if best else None,
        float_map50=best.float_model.map50 if best else None,
        recall={
            name: RecallPair(
                int8=best.int8.per_class[name].recall if name in best.int8.per_class else None,
                float_model=own.recall,
            )
            for name, own in best.float_model.per_class.items()
        }
        if best
        else {},
        attempts=tuple(attempts),
    )

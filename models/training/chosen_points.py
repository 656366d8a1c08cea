"""The operating points of a file, from its own answers on a run's validation pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from models.contract.bundle import CategoryKind, OperatingPoint, read_manifest
from models.contract.snapshot import Split
from models.training.box_matching import match_boxes
from models.training.evaluate import Judgement
from models.training.finished_run import FinishedRun
from models.training.operating_point import Costs, Curve, cheapest, curve_of, not_above
from models.training.snapshot_io import IndexRow

# More of them say nothing more about where a threshold must lie.
MAX_PICTURES = 500


@dataclass(frozen=True, slots=True)
class Points:
    """Operating points by category, and what they were chosen by; no curves: by the fit itself."""

    thresholds: Mapping[str, float]
    curves: Mapping[str, Curve] = field(default_factory=dict)
    chosen_by: OperatingPoint | None = None


def validation_rows(index: Sequence[IndexRow], run: FinishedRun) -> list[IndexRow]:
    """Pictures to choose on: those for validation, else what the fit has held out."""
    from models.training.fit import choose_rows

    own = [row for row in index if row.split is Split.VAL]
    if own:
        return own[:MAX_PICTURES]
    places = choose_rows(index, run.state.settings, 1)
    held_out = {image_id for image_id, place in places.items() if place.split is Split.VAL}
    return [row for row in index if row.image_id in held_out]


def choose_points(
    run: FinishedRun, judged: Judgement, rows: Sequence[IndexRow], costs: Costs
) -> Points:
    """Choose the cheapest thresholds that are no stricter than those of the parent bundle.

    Args:
        run: knows the categories and the parent.
        judged: what the file has answered.
        rows: pictures to choose on, from `validation_rows`.
        costs: of mistakes.
    """
    truths, found = judged.among({row.image_id for row in rows})
    if not truths:
        return Points(run.outcome.thresholds)
    matches = match_boxes(truths, found, [category.name for category in run.state.categories])
    defects = {own.name for own in run.state.categories if own.kind is CategoryKind.DEFECT}
    best = {
        name: cheapest(own, is_defect=name in defects, costs=costs) for name, own in matches.items()
    }
    init = Path(run.state.init)
    chosen = not_above(best, read_manifest(init).thresholds if init.is_dir() else {})
    curves = {
        name: curve_of(own, is_defect=name in defects, costs=costs, chosen=chosen[name])
        for name, own in matches.items()
    }
    is_own_split = {row.split for row in rows} == {Split.VAL}
    chosen_by = OperatingPoint(
        escape_cost=costs.escape,
        false_reject_cost=costs.false_reject,
        chosen_on="validation" if is_own_split else "held-out training",
        num_images=len(truths),
    )
    return Points(chosen, curves, chosen_by)

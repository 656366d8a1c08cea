"""A finished fit's folder, and what the export takes from it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from models.contract.bundle import Lineage
from models.training.errors import InputError
from models.training.fit_settings import (
    OUTCOME_NAME,
    RUN_NAME,
    WEIGHTS_NAME,
    FitOutcome,
    RunState,
    read_run_file,
)
from models.training.snapshot_io import IndexRow

NUM_GOLDEN = 4
NUM_EXAMPLES = 6
FLOAT_BUNDLE = "float_bundle"


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """What a fit left behind."""

    run_dir: Path
    state: RunState
    outcome: FitOutcome


def read_run(run_dir: Path) -> FinishedRun:
    """Read a run folder.

    Raises:
        InputError: there is no finished fit in it.
    """
    state = read_run_file(run_dir, RUN_NAME, RunState)
    outcome = read_run_file(run_dir, OUTCOME_NAME, FitOutcome)
    if state is None or outcome is None or not (run_dir / WEIGHTS_NAME).is_file():
        raise InputError(f"--run {run_dir}: no finished fit there")
    return FinishedRun(run_dir, state, outcome)


def load_network(run: FinishedRun) -> Any:  # noqa: ANN401 - keras has no types
    """The trained network at the size that it serves at."""
    from models.training.network import build_network

    model = build_network(run.state.spec)
    model.load_weights(run.run_dir / WEIGHTS_NAME)
    return model


def spread(rows: Sequence[IndexRow], count: int) -> list[IndexRow]:
    """At most ``count`` rows, evenly over their categories so that rare ones are among them."""
    frequency = Counter(box[0] for row in rows for box in row.boxes)
    # Rows come in the order of a hash, so taking from the front is taking at random.
    by_rarity = sorted(
        rows, key=lambda row: min((frequency[box[0]] for box in row.boxes), default=len(rows))
    )
    rare = by_rarity[: count // 4]
    taken = {row.image_id for row in rare}
    return rare + [row for row in rows if row.image_id not in taken][: count - len(rare)]


def lineage_of(run: FinishedRun) -> Lineage:
    """Where the bundle comes from."""
    init = run.state.init
    return Lineage(
        snapshot_id=run.state.snapshot_id,
        run_id=run.run_dir.resolve().name,
        init=Path(init).name if Path(init).exists() else init,
        parent_bundle_id=run.state.parent_bundle_id,
        code_version=metadata.version("sightline"),
    )

"""From a finished fit to a bundle that was measured: export, judge, seal."""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pyspark.sql import SparkSession
from pyspark.sql import functions as fn

from models.contract.bundle import MANIFEST_NAME, BundleManifest, Lineage
from models.contract.snapshot import Split
from models.detector.preprocess import Image
from models.training.errors import InputError
from models.training.evaluate import Judgement, judge_bundles, snapshot_pictures
from models.training.fit_settings import (
    OUTCOME_NAME,
    RUN_NAME,
    WEIGHTS_NAME,
    FitOutcome,
    RunState,
    read_run_file,
)
from models.training.pictures import decode
from models.training.snapshot_io import IndexRow, read_split

# Twice as many cost 7 s more and changed nothing that could be measured.
NUM_CALIBRATION = 96
NUM_GOLDEN = 4
NUM_EXAMPLES = 6
FLOAT_BUNDLE = "float_bundle"

Precision = Literal["int8", "f32"]

CANDIDATE, RUNNING, FLOAT = "candidate", "running", "float"


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """What a fit left behind."""

    run_dir: Path
    state: RunState
    outcome: FitOutcome


@dataclass(frozen=True, slots=True)
class ChosenPictures:
    """Pictures of the snapshot that the export needs in the driver."""

    calibration: tuple[Image, ...]
    golden: tuple[Image, ...]
    examples: tuple[Image, ...]
    num_train: int


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


def check_bundle_dir(bundle_dir: Path) -> None:
    """Refuse to replace a folder that is something else than a bundle.

    Raises:
        InputError: it is.
    """
    if not bundle_dir.exists():
        return
    is_empty = bundle_dir.is_dir() and not any(bundle_dir.iterdir())
    if not is_empty and not (bundle_dir / MANIFEST_NAME).is_file():
        raise InputError(f"--bundle {bundle_dir} exists and is not a bundle: name another folder")


def choose_pictures(session: SparkSession, url: str, index: Sequence[IndexRow]) -> ChosenPictures:
    """Fetch pictures to calibrate with, to hold golden, and for the card."""
    from models.training.export import choose_golden

    train = [row for row in index if row.split is Split.TRAIN]
    shown = [row for row in index if row.split is Split.VAL] or train
    calibration = spread(train, NUM_CALIBRATION)
    places = choose_golden([[box[0] for box in row.boxes] for row in shown], NUM_EXAMPLES)
    examples = [shown[place] for place in places]
    fetched = fetch_pictures(session, url, [*calibration, *examples])
    return ChosenPictures(
        calibration=tuple(fetched[row.image_id] for row in calibration),
        golden=tuple(fetched[row.image_id] for row in examples[:NUM_GOLDEN]),
        examples=tuple(fetched[row.image_id] for row in examples),
        num_train=len(train),
    )


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


def fetch_pictures(session: SparkSession, url: str, rows: Sequence[IndexRow]) -> dict[str, Image]:
    """Decode some pictures of a snapshot in the driver."""
    pictures: dict[str, Image] = {}
    for split in dict.fromkeys(row.split for row in rows):
        ids = [row.image_id for row in rows if row.split is split]
        wanted = read_split(session, url, split).where(fn.col("image_id").isin(ids))
        for entry in wanted.select("image_id", "image").toArrow().to_pylist():
            image = decode(entry["image"])
            if image is not None:
                pictures[entry["image_id"]] = image
    return pictures


def export_run(run: FinishedRun, bundle_dir: Path, pictures: ChosenPictures) -> Any:  # noqa: ANN401
    """Export a fit as an INT8 bundle, and as a float one beside it to compare with.

    Returns:
        The facts to seal the bundle with.
    """
    from models.training.export import BundleFacts, export_bundle
    from models.training.network import build_network

    model = build_network(run.state.spec)
    model.load_weights(run.run_dir / WEIGHTS_NAME)
    facts = BundleFacts(
        name=run.state.name,
        categories=run.state.categories,
        lineage=lineage_of(run),
        trained_on=_in_words(run, pictures.num_train),
    )
    thresholds = run.outcome.thresholds
    places: dict[Precision, Path] = {"int8": bundle_dir, "f32": run.run_dir / FLOAT_BUNDLE}
    for precision, folder in places.items():
        export_bundle(
            model,
            run.state.spec,
            folder,
            facts,
            thresholds=thresholds,
            calibration=pictures.calibration,
            golden=pictures.golden,
            precision=precision,
        )
    return facts


def judge_candidate(
    session: SparkSession,
    run: FinishedRun,
    bundle_dir: Path,
    compare: Path | None,
    *,
    index: Sequence[IndexRow],
    parallelism: int,
) -> tuple[dict[str, Judgement], Split]:
    """Measure the INT8 bundle, the float one and the running one on the same pictures.

    A snapshot without locked pictures is judged on its validation pictures, which the run has
    chosen its weights with: better than nothing, and the report says so.
    """
    split = Split.LOCKED if any(row.split is Split.LOCKED for row in index) else Split.VAL
    names = [category.name for category in run.state.categories]
    pictures = snapshot_pictures(
        session,
        run.state.snapshot_url,
        [row for row in index if row.split is split],
        names,
        parallelism=parallelism,
    )
    bundles = {CANDIDATE: bundle_dir, FLOAT: run.run_dir / FLOAT_BUNDLE}
    if compare is not None:
        bundles[RUNNING] = compare
    return judge_bundles(pictures, bundles), split


def seal_bundle(
    bundle_dir: Path,
    facts: Any,  # noqa: ANN401 - BundleFacts, whose module needs TensorFlow
    judged: Mapping[str, Judgement],
    pictures: ChosenPictures,
) -> BundleManifest:
    """Write the measured figures and the card into the bundle."""
    from models.detector.runtime import DetectorRuntime
    from models.training.card import Example
    from models.training.export import complete_bundle

    with DetectorRuntime.load(bundle_dir) as runtime:
        examples = [Example(image, runtime.infer(image)) for image in pictures.examples]
    return complete_bundle(
        bundle_dir,
        facts,
        evaluation=judged[CANDIDATE].evaluation,
        float_evaluation=judged[FLOAT].evaluation,
        examples=examples,
    )


def put_in_place(made: Path, bundle_dir: Path) -> None:
    """Give a finished bundle its final place, instead of what was there."""
    if bundle_dir.exists():
        shutil.rmtree(bundle_dir)
    bundle_dir.parent.mkdir(parents=True, exist_ok=True)
    made.replace(bundle_dir)


def report_of(
    run: FinishedRun,
    manifest: BundleManifest,
    judged: Mapping[str, Judgement],
    split: Split,
) -> dict[str, Any]:
    """The run's report: how it was trained, and how good it is beside float and running."""
    evaluations = {
        key: judgement.evaluation.model_dump(mode="json") for key, judgement in judged.items()
    }
    # The bundle got its identity only after it was measured.
    evaluations[CANDIDATE]["bundle_id"] = manifest.bundle_id
    evaluations[FLOAT]["bundle_id"] = manifest.bundle_id
    return {
        "master": run.outcome.master,
        "workers": run.outcome.workers,
        "steps": run.outcome.steps,
        "samples": run.outcome.samples,
        "seconds": run.outcome.seconds,
        "num_restarts": run.outcome.num_restarts,
        "snapshot_id": run.state.snapshot_id,
        "split": split.value,
        "skipped": dict(judged[CANDIDATE].skipped),
        "images_per_s": judged[CANDIDATE].images_per_s,
        CANDIDATE: evaluations[CANDIDATE],
        RUNNING: evaluations.get(RUNNING),
        FLOAT: evaluations[FLOAT],
    }


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


def _in_words(run: FinishedRun, num_train: int) -> str:
    size = f"{run.state.spec.input_width}x{run.state.spec.input_height} px"
    return (
        f"{num_train} pictures at {size}, {run.outcome.samples} showings in "
        f"{run.outcome.steps} steps of {run.state.settings.batch} on "
        f"{run.outcome.workers} Spark workers ({run.outcome.seconds / 60:.1f} min)"
    )

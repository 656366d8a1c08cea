"""From a candidate that was measured to a bundle in its place, and the run's report."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.contract.bundle import MANIFEST_NAME, BundleManifest, Category
from models.contract.snapshot import Split
from models.detector.preprocess import Image
from models.detector.runtime import DetectorRuntime
from models.training.analysis import Analysis, Judged, analyse
from models.training.candidate import CANDIDATE, FLOAT, RUNNING, Candidate
from models.training.card_facts import CardFacts, DataRow, SpeedRow
from models.training.card_pictures import Example, MistakePicture
from models.training.errors import InputError
from models.training.evaluate import Judgement, PictureSet, pictures_of
from models.training.finished_run import FLOAT_BUNDLE, FinishedRun
from models.training.mistakes import Mistake
from models.training.operating_point import DEFAULT_THRESHOLD, Costs
from models.training.snapshot_io import IndexRow, count_splits
from models.training.speed import measure_speed


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


def seal_bundle(
    run: FinishedRun,
    bundle_dir: Path,
    candidate: Candidate,
    *,
    costs: Costs,
    index: Sequence[IndexRow],
) -> tuple[BundleManifest, Analysis]:
    """Write the measured figures and the card into the bundle."""
    from models.training.export import Measured, complete_bundle

    judged = candidate.judged[CANDIDATE]
    thresholds = candidate.points.thresholds
    analysis, mistakes = analysis_of(judged, run.state.categories, thresholds, costs)
    card = CardFacts(
        evaluation=judged.evaluation,
        float_evaluation=candidate.judged[FLOAT].evaluation,
        analysis=analysis,
        curves=candidate.points.curves,
        judged_on=_judged_on(candidate.split),
        trained_on=_in_words(run, index),
        data=data_rows(index),
        speed=_speed(run, bundle_dir, candidate),
        mistakes=mistake_pictures(candidate.pictures, judged, mistakes, thresholds),
        examples=_examples(bundle_dir, candidate.examples),
    )
    measured = Measured(
        card=card,
        thresholds=thresholds,
        operating_point=candidate.points.chosen_by,
        quantization=candidate.quantization,
        split=candidate.split.value,
    )
    return complete_bundle(bundle_dir, candidate.facts, measured), analysis


def analysis_of(
    judged: Judgement,
    categories: Sequence[Category],
    thresholds: Mapping[str, float],
    costs: Costs,
) -> tuple[Analysis, list[Mistake]]:
    """Look closely at what a bundle has answered."""
    return analyse(Judged(judged.truths, judged.found, categories, thresholds, costs))


def mistake_pictures(
    pictures: PictureSet,
    judged: Judgement,
    mistakes: Sequence[Mistake],
    thresholds: Mapping[str, float],
) -> list[MistakePicture]:
    """Mistakes with their pictures and all that is labelled and found in them."""
    fetched = pictures_of(pictures, [mistake.image_id for mistake in mistakes])
    truths = {truth.image_id: truth for truth in judged.truths}
    answers = {answer.image_id: answer for answer in judged.found}
    shown = []
    for mistake in mistakes:
        image, answer = fetched.get(mistake.image_id), answers.get(mistake.image_id)
        if image is None or answer is None:
            continue
        rows = zip(answer.scores.tolist(), answer.categories, strict=True)
        counts = [score >= thresholds.get(name, DEFAULT_THRESHOLD) for score, name in rows]
        labels = truths[mistake.image_id].boxes
        shown.append(MistakePicture(mistake, image, labels, answer.boxes[counts]))
    return shown


def data_rows(index: Sequence[IndexRow]) -> list[DataRow]:
    """Pictures and boxes of each split that has any."""
    return [
        DataRow(split.value, counts.num_images, counts.boxes_per_category)
        for split, counts in count_splits(index).items()
        if counts.num_images
    ]


def put_in_place(made: Path, bundle_dir: Path) -> None:
    """Give a finished bundle its final place, instead of what was there."""
    if bundle_dir.exists():
        shutil.rmtree(bundle_dir)
    bundle_dir.parent.mkdir(parents=True, exist_ok=True)
    made.replace(bundle_dir)


def report_of(
    run: FinishedRun, manifest: BundleManifest, candidate: Candidate, analysis: Analysis
) -> dict[str, Any]:
    """The run's report: how it was trained, and how good it is beside float and running."""
    judged = candidate.judged
    evaluations = {
        key: judgement.evaluation.model_dump(mode="json") for key, judgement in judged.items()
    }
    # The bundle got its identity only after it was measured.
    evaluations[CANDIDATE]["bundle_id"] = manifest.bundle_id
    evaluations[FLOAT]["bundle_id"] = manifest.bundle_id
    point = candidate.points.chosen_by
    return {
        "master": run.outcome.master,
        "workers": run.outcome.workers,
        "steps": run.outcome.steps,
        "samples": run.outcome.samples,
        "seconds": run.outcome.seconds,
        "num_restarts": run.outcome.num_restarts,
        "snapshot_id": run.state.snapshot_id,
        "split": candidate.split.value,
        "skipped": dict(judged[CANDIDATE].skipped),
        "images_per_s": judged[CANDIDATE].images_per_s,
        "precision": manifest.precision,
        "precision_in_force": judged[CANDIDATE].precision_in_force,
        CANDIDATE: evaluations[CANDIDATE],
        RUNNING: evaluations.get(RUNNING),
        FLOAT: evaluations[FLOAT],
        "quantization": candidate.quantization.model_dump(mode="json"),
        "operating_point": (point.model_dump(mode="json") if point else {})
        | {"curves": curves_of(candidate)},
        "analysis": analysis.model_dump(mode="json"),
    }


def curves_of(candidate: Candidate) -> dict[str, Any]:
    """What every threshold would have given on the pictures it was chosen on, by category."""
    curves = candidate.points.curves.items()
    return {name: curve.model_dump(mode="json") for name, curve in curves}


def _speed(run: FinishedRun, bundle_dir: Path, candidate: Candidate) -> list[SpeedRow]:
    shipped: str = candidate.quantization.shipped
    folders = {shipped: bundle_dir} | (
        {"f32": run.run_dir / FLOAT_BUNDLE} if shipped != "f32" else {}
    )
    runtimes = {name: DetectorRuntime.load(folder) for name, folder in folders.items()}
    try:
        return measure_speed(runtimes, candidate.examples)
    finally:
        for runtime in runtimes.values():
            runtime.close()


def _examples(bundle_dir: Path, pictures: Sequence[Image]) -> list[Example]:
    with DetectorRuntime.load(bundle_dir) as runtime:
        return [Example(image, runtime.infer(image)) for image in pictures]


def _judged_on(split: Split) -> str:
    if split is Split.LOCKED:
        return "locked pictures"
    return "validation pictures, for want of locked ones: thresholds were chosen on the same"


def _in_words(run: FinishedRun, index: Sequence[IndexRow]) -> str:
    size = f"{run.state.spec.input_width}x{run.state.spec.input_height} px"
    num_train = sum(row.split is Split.TRAIN for row in index)
    return (
        f"{num_train} pictures at {size}, {run.outcome.samples} showings in "
        f"{run.outcome.steps} steps of {run.state.settings.batch} on "
        f"{run.outcome.workers} Spark workers ({run.outcome.seconds / 60:.1f} min)"
    )

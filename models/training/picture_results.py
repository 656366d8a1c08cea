"""Keeps what the candidate and the running model found in each judged picture."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from models.contract.bundle import BundleManifest
from models.contract.picture_results import (
    CANDIDATE,
    MIN_SCORE,
    RESULTS_NAME,
    RUNNING,
    ComparedModel,
    FoundBox,
    PictureResult,
    ResultsHead,
    TrueBox,
    write_results,
)
from models.contract.snapshot import Split
from models.detector.boxes import bboxes_of
from models.training.evaluate import Judgement
from models.training.metrics import Found
from models.training.snapshot_io import IndexRow


def keep_picture_results(
    run_dir: Path,
    *,
    snapshot_id: str,
    index: Sequence[IndexRow],
    split: Split,
    judged: Mapping[str, Judgement],
    manifests: Mapping[str, BundleManifest],
) -> None:
    """Write the file of the run that the cloud compares models with.

    Args:
        run_dir: Folder of the run.
        snapshot_id: Of the pictures.
        index: All rows of the snapshot.
        split: The one that was judged on.
        judged: What was found, by role.
        manifests: Of the candidate and, where there is one, of the running model.
    """
    roles = [role for role in (CANDIDATE, RUNNING) if role in judged and role in manifests]
    head = ResultsHead(
        snapshot_id=snapshot_id,
        split=split,
        models={
            role: ComparedModel(
                bundle_id=manifests[role].bundle_id,
                name=manifests[role].name,
                thresholds=dict(manifests[role].thresholds),
            )
            for role in roles
        },
    )
    answers = {role: {found.image_id: found for found in judged[role].found} for role in roles}
    rows = [row for row in index if row.split is split]
    write_results(run_dir / RESULTS_NAME, head, _pictures(rows, answers))


def _pictures(
    rows: Sequence[IndexRow], answers: Mapping[str, Mapping[str, Found]]
) -> Iterator[PictureResult]:
    for row in rows:
        found = {
            role: _boxes(known[row.image_id])
            for role, known in answers.items()
            if row.image_id in known
        }
        if found:  # else the picture could not be read
            labels = tuple(
                TrueBox(category=str(name), bbox=_rounded(sides)) for name, *sides in row.boxes
            )
            yield PictureResult(image_id=row.image_id, labels=labels, found=found)


def _boxes(found: Found) -> tuple[FoundBox, ...]:
    rows = zip(bboxes_of(found.boxes).tolist(), found.scores, found.categories, strict=True)
    return tuple(
        FoundBox(category=name, score=min(1.0, round(float(score), 4)), bbox=_rounded(bbox))
        for bbox, score, name in rows
        if score >= MIN_SCORE
    )


def _rounded(sides: Sequence[float]) -> tuple[float, float, float, float]:
    x, y, width, height = (round(float(side), 1) for side in sides)
    return x, y, width, height

"""Which pictures a run's operating points are chosen on, and what bounds them."""

from pathlib import Path

import numpy as np

from models.contract.bundle import MANIFEST_NAME, BundleManifest, Category
from models.contract.snapshot import Split
from models.detector.anchors import default_anchors
from models.detector.spec import DetectorSpec
from models.training.answers import Found, Truth
from models.training.chosen_points import choose_points, validation_rows
from models.training.evaluate import Judgement
from models.training.finished_run import FinishedRun
from models.training.fit_settings import FitOutcome, FitSettings, RunState
from models.training.metrics import Evaluation
from models.training.operating_point import Costs
from models.training.snapshot_io import IndexRow

BOX = (10.0, 10.0, 20.0, 20.0)
SPEC = DetectorSpec(
    categories=("scratch",),
    input_height=64,
    input_width=64,
    levels=(8,),
    anchors=default_anchors((8,)),
)


def finished(init: str = "none") -> FinishedRun:
    state = RunState(
        snapshot_id="0" * 16,
        snapshot_url="s",
        init=init,
        name="plate",
        categories=(Category(name="scratch"),),
        spec=SPEC,
        settings=FitSettings(),
    )
    outcome = FitOutcome(steps=1, samples=8, seconds=1, workers=1, thresholds={"scratch": 0.77})
    return FinishedRun(Path("run"), state, outcome)


def rows(split: Split, count: int) -> list[IndexRow]:
    labels = (("scratch", *BOX),)
    return [
        IndexRow(f"{split}{number:03}", split, f"P{number}", 64, 64, labels)
        for number in range(count)
    ]


def judged(chosen: list[IndexRow], score: float) -> Judgement:
    """Every label is found with one score, and nothing else."""
    corners = np.array([[10, 10, 30, 30]], np.float32)
    scores = np.array([score], np.float32)
    return Judgement(
        Evaluation(),
        tuple(Found(row.image_id, corners, scores, ("scratch",)) for row in chosen),
        truths=tuple(Truth(row.image_id, corners, ("scratch",)) for row in chosen),
    )


def test_validation_pictures_choose_and_locked_ones_never_do() -> None:
    index = rows(Split.TRAIN, 30) + rows(Split.VAL, 5) + rows(Split.LOCKED, 9)
    own = validation_rows(index, finished())
    assert {row.split for row in own} == {Split.VAL}
    # The locked pictures would ask for far less.
    answers = judged(own, 0.9).found + judged(rows(Split.LOCKED, 9), 0.1).found
    truths = judged(own, 0.9).truths + judged(rows(Split.LOCKED, 9), 0.1).truths
    points = choose_points(
        finished(), Judgement(Evaluation(), answers, truths=truths), own, Costs()
    )
    assert 0.2 < points.thresholds["scratch"] < 0.5
    assert points.chosen_by is not None
    assert (points.chosen_by.chosen_on, points.chosen_by.num_images) == ("validation", 5)
    assert points.curves["scratch"].num_boxes == 5


def test_without_validation_pictures_those_choose_that_the_fit_has_held_out() -> None:
    index = rows(Split.TRAIN, 40) + rows(Split.LOCKED, 9)
    own = validation_rows(index, finished())
    assert len(own) == 4
    points = choose_points(finished(), judged(own, 0.9), own, Costs())
    assert points.chosen_by is not None
    assert points.chosen_by.chosen_on == "held-out training"


def test_without_any_the_fit_s_own_thresholds_stay() -> None:
    own = validation_rows(rows(Split.TRAIN, 5), finished())
    assert own == []
    points = choose_points(finished(), judged([], 0.9), own, Costs())
    assert dict(points.thresholds) == {"scratch": 0.77}
    assert points.chosen_by is None


def test_a_known_category_is_judged_no_more_strictly_than_by_the_parent(tmp_path: Path) -> None:
    parent = BundleManifest.model_validate(
        {
            "bundle_id": "0" * 16,
            "name": "plate",
            "created_at": "2026-11-22T12:00:00Z",
            "categories": [{"name": "scratch"}],
            "thresholds": {"scratch": 0.12},
            "files": {},
        }
    )
    (tmp_path / MANIFEST_NAME).write_text(parent.model_dump_json())
    own = rows(Split.VAL, 5)
    points = choose_points(finished(str(tmp_path)), judged(own, 0.9), own, Costs())
    assert points.thresholds["scratch"] == 0.12
    assert points.curves["scratch"].chosen == 0.12
    assert points.curves["scratch"].best > 0.2

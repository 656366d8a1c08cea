"""Two models on one picture, and labels that look wrong."""

from pathlib import Path

import pytest

from cloud.comparison import (
    Change,
    ComparedPicture,
    DoubtKind,
    Faults,
    compare_picture,
    faults_of,
    label_doubts,
)
from cloud.comparisons import read_comparison
from models.contract.picture_results import (
    CANDIDATE,
    RUNNING,
    ComparedModel,
    FoundBox,
    PictureResult,
    ResultsHead,
    TrueBox,
    write_results,
)

PLACE = (10.0, 10.0, 20.0, 20.0)
NEAR = (12.0, 10.0, 20.0, 20.0)
FAR = (60.0, 60.0, 20.0, 20.0)
BOLT = TrueBox(category="bolt", bbox=PLACE)


def found(category: str = "bolt", score: float = 0.9, bbox: tuple[float, ...] = NEAR) -> FoundBox:
    return FoundBox(category=category, score=score, bbox=bbox)


@pytest.mark.parametrize(
    ("boxes", "hits", "misses", "extras"),
    [
        pytest.param([found()], 1, 0, 0, id="found"),
        pytest.param([found(score=0.59)], 0, 1, 0, id="under the operating point"),
        pytest.param([found(score=0.6)], 1, 0, 0, id="on the operating point"),
        pytest.param([found("screw")], 0, 1, 1, id="called something else"),
        pytest.param([found(bbox=FAR)], 0, 1, 1, id="somewhere else"),
        pytest.param([found(), found(score=0.7, bbox=PLACE)], 1, 0, 1, id="found twice"),
        pytest.param([], 0, 1, 0, id="missed"),
    ],
)
def test_a_model_is_judged_at_its_operating_point(
    boxes: list[FoundBox], hits: int, misses: int, extras: int
) -> None:
    faults = faults_of([BOLT], boxes, {"bolt": 0.6})
    assert (len(faults.hits), len(faults.misses), len(faults.extras)) == (hits, misses, extras)


@pytest.mark.parametrize(
    ("candidate", "running", "change"),
    [
        pytest.param([found()], [], Change.BETTER, id="finds what was missed"),
        pytest.param([], [found()], Change.WORSE, id="misses what was found"),
        pytest.param([found()], [found(score=0.8)], Change.SAME, id="both find it"),
        pytest.param([], [found(), found("screw", bbox=FAR)], Change.DIFFERENT, id="another fault"),
    ],
)
def test_the_candidate_is_better_or_worse_by_its_faults(
    candidate: list[FoundBox], running: list[FoundBox], change: Change
) -> None:
    picture = PictureResult(
        image_id="a", labels=(BOLT,), found={CANDIDATE: candidate, RUNNING: running}
    )
    assert compare_picture(picture, {}).change() is change


def test_a_category_is_compared_by_itself() -> None:
    picture = PictureResult(
        image_id="a",
        labels=(BOLT, TrueBox(category="screw", bbox=FAR)),
        found={CANDIDATE: (found(),), RUNNING: (found("screw", bbox=FAR),)},
    )
    compared = compare_picture(picture, {})
    assert compared.change() is Change.DIFFERENT
    assert (compared.change("bolt"), compared.change("screw")) == (Change.BETTER, Change.WORSE)
    assert compared.categories() == {"bolt", "screw"}


def test_without_a_running_model_nothing_changed() -> None:
    assert ComparedPicture("a", (), Faults(), None).change() is Change.SAME


@pytest.mark.parametrize(
    ("labels", "boxes", "kinds"),
    [
        pytest.param([BOLT], [found()], [], id="label and model agree"),
        pytest.param([], [found()], [DoubtKind.UNLABELLED], id="a label is missing"),
        pytest.param([], [found(score=0.79)], [], id="the model is not sure"),
        pytest.param([BOLT], [found("screw")], [DoubtKind.OTHER_CATEGORY], id="another name"),
        pytest.param([BOLT], [], [DoubtKind.NOTHING_THERE], id="nothing is seen there"),
        pytest.param([BOLT], [found(score=0.11)], [], id="it is seen faintly"),
        pytest.param(
            [BOLT], [found(bbox=(20.0, 10.0, 20.0, 20.0))], [], id="drawn differently, no more"
        ),
        pytest.param(
            [BOLT],
            [found(bbox=FAR)],
            [DoubtKind.UNLABELLED, DoubtKind.NOTHING_THERE],
            id="in another place",
        ),
    ],
)
def test_a_label_is_doubted_where_a_sure_model_contradicts_it(
    labels: list[TrueBox], boxes: list[FoundBox], kinds: list[DoubtKind]
) -> None:
    assert sorted(doubt.kind for doubt in label_doubts("a", labels, boxes)) == sorted(kinds)


def test_a_run_is_read_with_its_counts_and_the_surest_doubts_first(tmp_path: Path) -> None:
    head = ResultsHead(
        snapshot_id="9e8d7c6b5a493827",
        models={
            CANDIDATE: ComparedModel(bundle_id="a" * 16, thresholds={"bolt": 0.5}),
            RUNNING: ComparedModel(bundle_id="b" * 16, thresholds={"bolt": 0.95}),
        },
    )
    pictures = [
        PictureResult(
            image_id="good", labels=(BOLT,), found={CANDIDATE: (found(),), RUNNING: (found(),)}
        ),
        PictureResult(image_id="less sure", found={CANDIDATE: (found(score=0.85),), RUNNING: ()}),
        PictureResult(image_id="sure", found={CANDIDATE: (found(score=0.99),), RUNNING: ()}),
    ]
    write_results(tmp_path / "pictures.jsonl", head, pictures)
    run = read_comparison(tmp_path / "pictures.jsonl")
    assert run.counts() == {
        Change.WORSE: 2,
        Change.BETTER: 1,  # the running model's operating point lies above its score
        Change.DIFFERENT: 0,
        Change.SAME: 0,
    }
    assert [doubt.image_id for doubt in run.doubts] == ["sure", "less sure"]
    assert [one.image_id for one in run.select(change=Change.BETTER)] == ["good"]
    assert run.categories() == ["bolt"]

"""Intervals, sizes, calibration, confusion and the worst mistakes of a model's answers."""

import numpy as np
import pytest

from models.contract.bundle import Category, CategoryKind
from models.contract.proportions import wilson_interval
from models.training.analysis import Analysis, Judged, analyse
from models.training.answers import Found, Truth
from models.training.box_matching import ClassMatches, match_boxes
from models.training.intervals import ap_intervals, average_precision
from models.training.metrics import evaluate
from models.training.mistakes import Mistake
from models.training.reliability import reliability_of

CATEGORIES = (Category(name="bolt", kind=CategoryKind.OBJECT), Category(name="scratch"))
NAMES = ("bolt", "scratch")
BOX = (10.0, 10.0, 30.0, 30.0)
FAR = (100.0, 100.0, 200.0, 160.0)
Row = tuple[tuple[float, float, float, float], float, str]


def truth(image_id: str, *labels: tuple[tuple[float, float, float, float], str]) -> Truth:
    boxes = np.array([box for box, _ in labels], np.float32).reshape(-1, 4)
    return Truth(image_id, boxes, tuple(name for _, name in labels))


def found(image_id: str, *rows: Row) -> Found:
    boxes = np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score, _ in rows], np.float32)
    return Found(image_id, boxes, scores, tuple(name for _, _, name in rows))


def noisy_answers(count: int = 40) -> tuple[list[Truth], list[Found]]:
    """Pictures with one bolt each, found or not as a die decides, and false alarms."""
    rng = np.random.default_rng(3)
    truths, answers = [], []
    for number in range(count):
        truths.append(truth(str(number), (BOX, "bolt")))
        rows: list[Row] = []
        if rng.random() < 0.8:
            rows.append((BOX, float(rng.uniform(0.3, 1)), "bolt"))
        if rng.random() < 0.4:
            rows.append((FAR, float(rng.uniform(0, 0.8)), "bolt"))
        answers.append(found(str(number), *rows))
    return truths, answers


def matches_with(scores: list[float], hits: list[bool]) -> ClassMatches:
    count = len(scores)
    return ClassMatches(
        scores=np.array(scores, float),
        hits=np.array(hits, bool),
        pictures=np.arange(count),
        boxes=np.zeros((count, 4), np.float32),
        label_scores=np.zeros(0),
        label_pictures=np.zeros(0, np.int64),
        label_boxes=np.zeros((0, 4), np.float32),
        num_pictures=count,
    )


def test_average_precision_is_that_of_pycocotools() -> None:
    truths, answers = noisy_answers()
    judged = evaluate(truths, answers, NAMES, {})
    own = match_boxes(truths, answers, NAMES)
    assert average_precision(own["bolt"]) == pytest.approx(judged.per_class["bolt"].ap50, abs=1e-4)
    assert np.isnan(average_precision(own["scratch"]))


def test_an_interval_holds_the_figure_and_narrows_with_more_pictures() -> None:
    widths = []
    for count in (20, 200):
        own = match_boxes(*noisy_answers(count), NAMES)
        overall, per_class = ap_intervals(own)
        assert overall is not None
        assert overall == per_class["bolt"]
        assert per_class["scratch"] is None
        assert overall[0] <= average_precision(own["bolt"]) <= overall[1]
        widths.append(overall[1] - overall[0])
    assert widths[1] < widths[0] / 2


def test_drawing_a_picture_twice_counts_it_twice() -> None:
    truths = [truth("a", (BOX, "bolt")), truth("b", (BOX, "bolt"))]
    own = match_boxes(truths, [found("a", (BOX, 0.9, "bolt"))], NAMES)["bolt"]
    assert average_precision(own, np.array([2.0, 0.0])) == pytest.approx(1)
    assert average_precision(own, np.array([0.0, 2.0])) == 0


def test_wilson_interval_as_published() -> None:
    # Newcombe 1998, table I: 81 of 263.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 0) == (0, 1)


@pytest.mark.parametrize(
    ("hits_of_ten", "ece"),
    [
        pytest.param(8, 0.05, id="says 0.85 and is right in eight of ten"),
        pytest.param(2, 0.65, id="is far too sure of itself"),
    ],
)
def test_calibration_compares_scores_with_hits(hits_of_ten: int, ece: float) -> None:
    hits = [True] * hits_of_ten + [False] * (10 - hits_of_ten)
    result = reliability_of([matches_with([0.85] * 10, hits)])
    assert result.ece == pytest.approx(ece, abs=1e-4)
    (filled,) = (entry for entry in result.bins if entry.num_boxes)
    assert (filled.low, filled.hit_ratio) == (0.8, hits_of_ten / 10)
    assert filled.hit_ratio_low < hits_of_ten / 10 < filled.hit_ratio_high


def test_boxes_that_score_next_to_nothing_do_not_flatter_the_calibration() -> None:
    sure = matches_with([0.9] * 4, [False] * 4)
    silent = matches_with([0.01] * 1000, [False] * 1000)
    assert reliability_of([sure, silent]).ece == reliability_of([sure]).ece == pytest.approx(0.9)
    assert reliability_of([matches_with([], [])]).ece is None


def analysed(
    truths: list[Truth], answers: list[Found], point: float = 0.5
) -> tuple[Analysis, list[Mistake]]:
    return analyse(Judged(truths, answers, CATEGORIES, dict.fromkeys(NAMES, point)))


def test_confusion_tells_what_is_taken_for_what() -> None:
    truths = [truth("a", (BOX, "bolt"), (FAR, "scratch")), truth("b", (BOX, "bolt"))]
    answers = [
        found("a", (BOX, 0.9, "scratch"), (FAR, 0.4, "scratch")),
        found("b", (FAR, 0.8, "bolt")),
    ]
    analysis, _ = analysed(truths, answers)
    assert analysis.confusion.names == ("bolt", "scratch", "nothing")
    assert analysis.confusion.counts == ((0, 1, 1), (0, 0, 1), (1, 0, 0))


def test_of_two_boxes_on_one_label_the_one_of_its_category_is_right() -> None:
    answers = [found("a", (BOX, 0.9, "bolt"), (BOX, 0.8, "scratch"))]
    analysis, _ = analysed([truth("a", (BOX, "bolt"), (BOX, "scratch"))], answers)
    assert analysis.confusion.counts == ((1, 0, 0), (0, 1, 0), (0, 0, 0))


def test_worst_mistakes_come_first_and_name_their_picture() -> None:
    truths = [
        truth("faint", (BOX, "scratch")),
        truth("unseen", (BOX, "scratch")),
        truth("object", (BOX, "bolt")),
        truth("clean"),
    ]
    answers = [
        found("faint", (BOX, 0.45, "scratch")),
        found("object", (BOX, 0.2, "bolt")),
        found("clean", (FAR, 0.6, "scratch"), (BOX, 0.95, "scratch"), (FAR, 0.55, "bolt")),
    ]
    _, mistakes = analysed(truths, answers)
    assert [(mistake.kind, mistake.image_id, mistake.category) for mistake in mistakes] == [
        ("miss", "unseen", "scratch"),
        ("miss", "faint", "scratch"),
        ("miss", "object", "bolt"),
        ("false alarm", "clean", "bolt"),
        ("false alarm", "clean", "scratch"),
        ("false alarm", "clean", "scratch"),
    ]
    assert [mistake.score for mistake in mistakes[4:]] == pytest.approx([0.95, 0.6])
    assert mistakes[0].box == BOX


def test_false_alarms_are_counted_on_defect_free_pictures_alone() -> None:
    truths = [truth("a", (BOX, "bolt")), truth("b"), truth("bad", (BOX, "scratch"))]
    answers = [
        found("a", (FAR, 0.9, "scratch"), (BOX, 0.9, "scratch"), (BOX, 0.9, "bolt")),
        found("b", (FAR, 0.3, "scratch"), (FAR, 0.9, "bolt")),
        found("bad", (FAR, 0.9, "scratch")),
    ]
    clean = analysed(truths, answers)[0].clean_pictures
    assert (clean.num_images, clean.false_alarms_per_1000, clean.rejected_ratio) == (2, 1000, 0.5)
    assert clean.rejected_low == pytest.approx(wilson_interval(1, 2)[0], abs=1e-4)
    without = analysed(truths[2:], answers[2:])[0].clean_pictures
    assert (without.false_alarms_per_1000, without.note) == (None, "no defect-free pictures")


def test_sizes_are_told_apart_by_this_data_and_by_coco() -> None:
    boxes = [(0.0, 0.0, side, side) for side in (10.0, 12.0, 40.0, 50.0, 150.0, 160.0)]
    truths = [truth(str(place), (box, "bolt")) for place, box in enumerate(boxes)]
    answers = [
        found(str(place), (box, 0.9, "bolt")) for place, box in enumerate(boxes) if place > 1
    ]
    sizes = analysed(truths, answers)[0].sizes
    for table in (sizes.own, sizes.coco):
        assert [row.name for row in table] == ["small", "medium", "large"]
        assert [row.num_boxes for row in table] == [2, 2, 2]
        assert [row.recall for row in table] == [0, 1, 1]
        assert [row.ap50 for row in table] == [0, pytest.approx(1), pytest.approx(1)]
    assert sizes.coco[1].low_px == 32
    assert sizes.coco[2].high_px is None
    assert 10 < (sizes.own[0].high_px or 0) < 50


def test_a_set_without_any_box_is_analysed_all_the_same() -> None:
    analysis, mistakes = analysed([truth("a")], [found("a")])
    assert mistakes == []
    assert analysis.map50_interval is None
    assert analysis.sizes.own == ()
    assert analysis.per_class["bolt"].recall_interval is None

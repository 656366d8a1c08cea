import numpy as np
import pytest

from models.training.metrics import Found, Truth, choose_thresholds, evaluate

CATEGORIES = ("bolt", "scratch", "torn_label")
BOX = [10.0, 10.0, 50.0, 40.0]
FAR = [200.0, 200.0, 240.0, 230.0]


def truth(image_id: str, *rows: tuple[list[float], str]) -> Truth:
    boxes = np.array([box for box, _ in rows], np.float32).reshape(-1, 4)
    return Truth(image_id, boxes, tuple(name for _, name in rows))


def found(image_id: str, *rows: tuple[list[float], float, str]) -> Found:
    boxes = np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score, _ in rows], np.float32)
    return Found(image_id, boxes, scores, tuple(name for _, _, name in rows), latency_ms=5.0)


def test_perfect_answers_score_one_and_an_empty_class_does_not_count() -> None:
    truths = [truth("a", (BOX, "bolt")), truth("b", (BOX, "scratch")), truth("clean")]
    answers = [found("a", (BOX, 0.9, "bolt")), found("b", (BOX, 0.8, "scratch"))]
    result = evaluate(truths, answers, CATEGORIES, {})
    assert result.map50 == pytest.approx(1)
    assert result.num_images == 3
    assert result.per_class["bolt"].recall == 1
    assert result.per_class["torn_label"].ap50 is None
    assert result.latency_ms == {"p50": 5.0, "p99": 5.0}


def test_a_class_the_model_does_not_know_counts_as_zero() -> None:
    truths = [truth("a", (BOX, "bolt"), (FAR, "torn_label"))]
    result = evaluate(truths, [found("a", (BOX, 0.9, "bolt"))], CATEGORIES, {})
    assert result.per_class["torn_label"].ap50 == 0
    assert result.map50 == pytest.approx(0.5)


def test_a_false_alarm_in_a_clean_picture_costs_precision() -> None:
    truths = [truth("a", (BOX, "bolt")), truth("clean")]
    answers = [found("a", (BOX, 0.6, "bolt")), found("clean", (FAR, 0.9, "bolt"))]
    result = evaluate(truths, answers, CATEGORIES, {"bolt": 0.5})
    assert result.per_class["bolt"].precision == 0.5
    assert result.map50 == pytest.approx(0.5)


def test_the_threshold_separates_hits_from_false_alarms() -> None:
    truths = [truth(str(number), (BOX, "bolt")) for number in range(4)]
    answers = [found(str(number), (BOX, 0.7, "bolt"), (FAR, 0.3, "bolt")) for number in range(4)]
    thresholds = choose_thresholds(truths, answers, CATEGORIES)
    assert 0.3 < thresholds["bolt"] <= 0.7
    assert set(thresholds) == set(CATEGORIES)


def test_a_defect_is_rather_reported_too_often_than_missed() -> None:
    truths = [truth(str(number), (BOX, "bolt")) for number in range(4)]
    # The weakest of the true boxes scores less than the false alarms.
    answers = [
        found(str(number), (BOX, score, "bolt"), (FAR, 0.5, "bolt"))
        for number, score in enumerate((0.9, 0.9, 0.9, 0.4))
    ]
    as_object = choose_thresholds(truths, answers, CATEGORIES)["bolt"]
    as_defect = choose_thresholds(truths, answers, CATEGORIES, defects={"bolt"})["bolt"]
    assert as_object > 0.5
    assert as_defect <= 0.4

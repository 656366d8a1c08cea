import numpy as np
import pytest

from models.contract.bundle import GoldenDetection, GoldenPicture
from models.detector.detections import Detections
from models.detector.golden import compare, record

CATEGORIES = ("bolt", "scratch")
GOLDEN = GoldenPicture(
    file="golden/0.png",
    detections=(GoldenDetection(category="scratch", bbox=(10, 10, 40, 20), score=0.8),),
)

Row = tuple[tuple[float, float, float, float], float, int]


def answer(*rows: Row) -> Detections:
    boxes, scores, class_ids = zip(*rows, strict=True) if rows else ((), (), ())
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(class_ids, np.int64),
    )


SAME: Row = ((10, 10, 50, 30), 0.8, 1)


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        pytest.param(answer(SAME), None, id="the same"),
        pytest.param(answer(((11, 10, 50, 31), 0.7, 1)), None, id="rounded differently"),
        pytest.param(answer(SAME, ((90, 90, 99, 99), 0.2, 0)), None, id="a faint box more"),
        pytest.param(answer(), "gone", id="nothing found"),
        pytest.param(answer(((10, 10, 50, 30), 0.8, 0)), "gone", id="another class"),
        pytest.param(answer(((30, 10, 70, 30), 0.8, 1)), "gone", id="moved"),
        pytest.param(answer(((10, 10, 50, 30), 0.5, 1)), "score", id="much less sure"),
        pytest.param(
            answer(SAME, ((90, 90, 99, 99), 0.9, 0)), "not there before", id="a strong box more"
        ),
    ],
)
def test_an_answer_passes_only_if_it_is_the_recorded_one(
    found: Detections, fault: str | None
) -> None:
    faults = compare(GOLDEN, found, CATEGORIES)
    assert (fault is None) == (faults == [])
    assert fault is None or fault in faults[0]


def test_a_recorded_answer_passes_its_own_check() -> None:
    found = answer(((1, 2, 30, 40), 0.9, 0), SAME, ((5, 5, 9, 9), 0.1, 1))
    recorded = record("golden/1.png", found, CATEGORIES)
    assert [detection.category for detection in recorded.detections] == ["bolt", "scratch"]
    assert compare(recorded, found, CATEGORIES) == []

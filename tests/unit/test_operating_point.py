"""From which score a box counts, and what that costs."""

import numpy as np
import pytest

from models.training.answers import Found, Truth
from models.training.box_matching import match_boxes
from models.training.operating_point import (
    DEFAULT_THRESHOLD,
    Costs,
    cheapest,
    choose_thresholds,
    curve_of,
    expected_cost,
    not_above,
)

BOX = (10.0, 10.0, 30.0, 30.0)
FAR = (50.0, 50.0, 70.0, 70.0)
HALF_OFF = (20.0, 10.0, 40.0, 30.0)
Corners = tuple[float, float, float, float]
Row = tuple[Corners, float]


def one_class(
    *pictures: tuple[list[Corners], list[Row]],
) -> tuple[list[Truth], list[Found]]:
    """Pictures with labels and answers of the single category ``scratch``."""
    truths, found = [], []
    for number, (labels, rows) in enumerate(pictures):
        truths.append(
            Truth(
                str(number), np.array(labels, np.float32).reshape(-1, 4), ("scratch",) * len(labels)
            )
        )
        boxes = np.array([box for box, _ in rows], np.float32).reshape(-1, 4)
        scores = np.array([score for _, score in rows], np.float32)
        found.append(Found(str(number), boxes, scores, ("scratch",) * len(rows)))
    return truths, found


# Four scratches; the weakest scores less than a false alarm in every picture.
MIXED = one_class(*[([BOX], [(BOX, score), (FAR, 0.5)]) for score in (0.9, 0.9, 0.9, 0.4)])


@pytest.mark.parametrize(
    ("costs", "low", "high"),
    [
        pytest.param(Costs(escape=10, false_reject=1), 0.0, 0.4, id="an escape is dear: find all"),
        pytest.param(Costs(escape=1, false_reject=1), 0.5, 0.9, id="both cost alike: be right"),
        pytest.param(Costs(escape=3.9, false_reject=1), 0.5, 0.9, id="one escape for four rejects"),
        pytest.param(Costs(escape=4.1, false_reject=1), 0.0, 0.4, id="a little dearer turns it"),
    ],
)
def test_the_threshold_of_a_defect_follows_the_costs(costs: Costs, low: float, high: float) -> None:
    chosen = choose_thresholds(*MIXED, ("scratch",), defects={"scratch"}, costs=costs)["scratch"]
    assert low < chosen <= high


def test_a_false_object_where_one_is_missing_costs_as_an_escape() -> None:
    # Two bolts in one picture, and one in another, where a second is seen that is not there.
    both = ([BOX, FAR], [(BOX, 0.9), (FAR, 0.9)])
    missing = ([BOX], [(BOX, 0.9), (FAR, 0.6)])
    weak = ([BOX, FAR], [(BOX, 0.55), (FAR, 0.55)])
    pictures = one_class(both, missing, weak)
    dear = choose_thresholds(*pictures, ("scratch",), costs=Costs(escape=10, false_reject=1))
    assert dear["scratch"] > 0.6  # two false rejects are cheaper than one escape
    cheap = choose_thresholds(*pictures, ("scratch",), costs=Costs(escape=1, false_reject=1))
    assert cheap["scratch"] <= 0.55


@pytest.mark.parametrize(
    ("second", "others", "cost"),
    [
        pytest.param(FAR, [BOX, FAR], 10, id="where one is missing"),
        pytest.param(FAR, [BOX], 1, id="where none is missing"),
        pytest.param(HALF_OFF, [BOX, FAR], 1, id="over one that is there"),
    ],
)
def test_a_false_object_hides_only_what_is_missing(
    second: Corners, others: list[Corners], cost: float
) -> None:
    fullest = (others, [(box, 0.9) for box in others])
    own = match_boxes(*one_class(fullest, ([BOX], [(BOX, 0.9), (second, 0.8)])), ("scratch",))[
        "scratch"
    ]
    assert own.hits.tolist().count(False) == 1
    at_lowest = expected_cost(own, is_defect=False, costs=Costs(escape=10, false_reject=1))[0]
    assert at_lowest == pytest.approx(cost / 2)


def test_among_thresholds_of_one_cost_it_lies_low() -> None:
    pictures = one_class(*[([BOX], [(BOX, 0.8), (FAR, 0.2)])] * 3)
    chosen = choose_thresholds(*pictures, ("scratch",), defects={"scratch"})["scratch"]
    # Everything from 0.21 to 0.80 costs nothing; a quarter up is 0.35.
    assert chosen == pytest.approx(0.35, abs=0.02)


@pytest.mark.parametrize(
    "pictures",
    [
        pytest.param(one_class(([], [(FAR, 0.9)])), id="never labelled"),
        pytest.param(one_class(([BOX], [(FAR, 0.9)])), id="never found"),
        pytest.param(one_class(([BOX], [])), id="silent"),
    ],
)
def test_a_category_nothing_is_known_of_gets_the_default(
    pictures: tuple[list[Truth], list[Found]],
) -> None:
    assert choose_thresholds(*pictures, ("scratch",)) == {"scratch": DEFAULT_THRESHOLD}


def test_the_curve_tells_every_threshold_and_the_one_that_was_taken() -> None:
    own = match_boxes(*MIXED, ("scratch",))["scratch"]
    curve = curve_of(own, is_defect=True, costs=Costs(), chosen=0.2)
    assert (curve.chosen, curve.best) == (0.2, cheapest(own, is_defect=True, costs=Costs()))
    low, middle, high = (curve.at(threshold) for threshold in (0.3, 0.45, 0.7))
    assert (curve.recall[low], curve.recall[middle], curve.recall[high]) == (1, 0.75, 0.75)
    assert (curve.precision[low], curve.precision[high]) == (0.5, 1)
    assert curve.false_alarms_per_image[middle] == 1
    # One of four missed at 10, four false alarms at 1, over four pictures.
    assert curve.expected_cost[middle] == pytest.approx((10 + 4) / 4)
    assert curve.precision[curve.at(0.95)] is None
    assert len(curve.thresholds) == len(curve.recall) == len(curve.expected_cost)


def test_an_operating_point_is_never_stricter_than_before() -> None:
    chosen = {"bolt": 0.6, "scratch": 0.3, "new": 0.5}
    assert not_above(chosen, {"bolt": 0.4, "scratch": 0.5}) == {
        "bolt": 0.4,
        "scratch": 0.3,
        "new": 0.5,
    }

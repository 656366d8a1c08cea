"""From boxes to a verdict."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contract.messages import ReasonCode, Verdict
from models.contract.recipe import ExpectedObject, ForbiddenDefect, NOfM, Recipe, View, Zone
from models.detector.detections import Detections, NotFiniteError
from models.detector.judgement import (
    LabelMap,
    judge_view,
    unknown_expected,
    unknown_forbidden,
)

LABELS = LabelMap(("bolt", "scratch"), {"bolt": 0.5, "scratch": 0.5})
BOLT, SCRATCH = 0, 1
Box = tuple[int, float, tuple[float, float, float, float]]
HERE = (10.0, 10.0, 30.0, 30.0)


def found(*boxes: Box) -> Detections:
    ordered = sorted(boxes, key=lambda box: -box[1])
    return Detections(
        np.array([box[2] for box in ordered], np.float32).reshape(-1, 4),
        np.array([box[1] for box in ordered], np.float32),
        np.array([box[0] for box in ordered], np.int64),
    )


def recipe(view: View, n_of_m: NOfM | None = None) -> Recipe:
    return Recipe(
        recipe_id="plate",
        version=1,
        part_type="plate",
        image_width_px=640,
        image_height_px=512,
        n_of_m=n_of_m or NOfM(),
        views=(view,),
    )


def verdict(view: View, *pictures: Detections, n_of_m: NOfM | None = None) -> Verdict:
    return judge_view(pictures, view, recipe(view, n_of_m), LABELS)[0]


FORBIDDEN = View(forbidden=(ForbiddenDefect(category="scratch"),))
LEFT = Zone(x=0, y=0, width=20.5, height=50)
EXPECTED = View(
    expected=(
        ExpectedObject(
            name="bolt 1",
            category="bolt",
            zone=Zone(x=0, y=0, width=20.5, height=50),
            min_score=0.6,
        ),
    )
)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        pytest.param((), Verdict.OK, id="nothing found"),
        pytest.param((0.49,), Verdict.OK, id="just under the limit"),
        pytest.param((0.50,), Verdict.NOT_OK, id="exactly on the limit rejects"),
        pytest.param((0.2, 0.9), Verdict.NOT_OK, id="the worst one counts"),
    ],
)
def test_verdict_follows_the_worst_defect(scores: tuple[float, ...], expected: Verdict) -> None:
    assert verdict(FORBIDDEN, found(*((SCRATCH, score, HERE) for score in scores))) is expected


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        pytest.param((), Verdict.NOT_OK, id="nothing there"),
        pytest.param(((BOLT, 0.6, HERE),), Verdict.OK, id="there, exactly on the limit"),
        pytest.param(((BOLT, 0.59, HERE),), Verdict.NOT_OK, id="too weak to count"),
        pytest.param(((BOLT, 0.9, (20.0, 0.0, 40.0, 9.0)),), Verdict.NOT_OK, id="in another place"),
        pytest.param(((SCRATCH, 0.9, HERE),), Verdict.NOT_OK, id="something else there"),
    ],
)
def test_expected_object_must_be_in_its_zone(boxes: tuple[Box, ...], expected: Verdict) -> None:
    assert verdict(EXPECTED, found(*boxes)) is expected


def test_missing_object_is_named_with_what_was_found() -> None:
    view = View(expected=(ExpectedObject(name="bolts", category="bolt", count=3),))
    _, (reason,) = judge_view([found((BOLT, 0.9, HERE))], view, recipe(view), LABELS)
    assert (reason.code, reason.object_name) == (ReasonCode.MISSING_OBJECT, "bolts")
    assert reason.text == "bolts: 1 of 3 bolt found"


def test_small_defect_may_be_allowed() -> None:
    view = View(forbidden=(ForbiddenDefect(category="scratch", min_area_px=401),))
    assert verdict(view, found((SCRATCH, 0.9, HERE))) is Verdict.OK
    assert verdict(view, found((SCRATCH, 0.9, (0.0, 0.0, 21.0, 20.0)))) is Verdict.NOT_OK


def test_defect_must_be_seen_n_times_in_m_pictures() -> None:
    hit, miss = found((SCRATCH, 0.9, HERE)), found()
    two_of_three = NOfM(n=2, m=3)
    assert verdict(FORBIDDEN, hit, miss, miss, n_of_m=two_of_three) is Verdict.OK
    assert verdict(FORBIDDEN, hit, miss, hit, n_of_m=two_of_three) is Verdict.NOT_OK
    assert verdict(FORBIDDEN, hit, n_of_m=two_of_three) is Verdict.NOT_OK, "the only picture"


def test_unknown_categories_are_told_apart() -> None:
    view = View(
        expected=(ExpectedObject(name="nut", category="nut"),),
        forbidden=(ForbiddenDefect(category="torn_label"), ForbiddenDefect(category="scratch")),
    )
    assert unknown_expected(recipe(view), LABELS.categories) == ("nut",)
    assert unknown_forbidden(recipe(view), LABELS.categories) == ("torn_label",)
    assert verdict(view, found()) is Verdict.NOT_OK, "what cannot be found is missing"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_noticed(bad: float) -> None:
    for broken in ((BOLT, bad, HERE), (BOLT, 0.1, (0.0, 0.0, bad, 1.0))):
        good = (BOLT, 0.9, HERE)
        with pytest.raises(NotFiniteError):
            verdict(FORBIDDEN, found(good, broken))


BOXES = st.lists(
    st.tuples(st.sampled_from([BOLT, SCRATCH]), st.floats(0, 1, width=32), st.just(HERE)),
    max_size=8,
)


@given(BOXES, BOXES)
def test_more_defects_never_make_a_part_good(boxes: list[Box], more: list[Box]) -> None:
    if verdict(FORBIDDEN, found(*boxes)) is Verdict.NOT_OK:
        assert verdict(FORBIDDEN, found(*boxes, *more)) is Verdict.NOT_OK

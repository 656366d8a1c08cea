"""Whether the INT8 file may ship, and what is tried before it may not."""

import pytest

from models.training.errors import OutOfTimeError
from models.training.metrics import ClassEvaluation, Evaluation
from models.training.quantization_gate import GateLimits, Search, Tried, faults_of, search
from models.training.quantize import RECIPES, Recipe

LIMITS = GateLimits()


def measured(map50: float, bolt: float | None = 0.95, scratch: float | None = 0.9) -> Evaluation:
    return Evaluation(
        map50=map50,
        per_class={
            "bolt": ClassEvaluation(recall=bolt, num_boxes=100),
            "scratch": ClassEvaluation(recall=scratch, num_boxes=100),
        },
    )


FLOAT = measured(0.96)
GOOD, BAD = measured(0.955), measured(0.9)


@pytest.mark.parametrize(
    ("int8", "faults"),
    [
        pytest.param(measured(0.955), 0, id="mAP lower by exactly the limit"),
        pytest.param(measured(0.9549), 1, id="mAP lower by more"),
        pytest.param(measured(0.99, bolt=0.94), 0, id="a recall lower by exactly the limit"),
        pytest.param(measured(0.99, bolt=0.93), 1, id="a recall lower by more, mAP better"),
        pytest.param(measured(0.99, scratch=None), 1, id="a class is gone"),
        pytest.param(measured(0.5, bolt=0.5, scratch=0.5), 3, id="all of it"),
    ],
)
def test_int8_may_lose_little(int8: Evaluation, faults: int) -> None:
    assert len(faults_of(int8, FLOAT, LIMITS)) == faults


def test_a_class_without_labels_cannot_lose_recall() -> None:
    assert not faults_of(measured(0.96, scratch=None), measured(0.96, scratch=None), LIMITS)


class Bench:
    """Answers recipes with prepared figures; each takes its effort times ten seconds."""

    def __init__(self, *answers: Evaluation | Exception, budget_s: float = 1000.0) -> None:
        self._answers = list(answers)
        self._left = budget_s
        self.tried: list[str] = []

    def search(self) -> Search[str]:
        return search(self._try_one, seconds_left=lambda: self._left)

    def _try_one(self, recipe: Recipe) -> Tried[str]:
        self.tried.append(recipe.name)
        self._left -= 10 * recipe.effort
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Tried(recipe.name, answer, FLOAT)


def test_the_first_recipe_that_passes_ships() -> None:
    bench = Bench(GOOD)
    found = bench.search()
    assert bench.tried == [RECIPES[0].name]
    assert found.record.shipped == "int8"
    assert found.record.recipe == RECIPES[0].name
    assert (found.record.int8_map50, found.record.float_map50) == (0.955, 0.96)
    assert found.record.recall["bolt"].float_model == 0.95


def test_cheaper_remedies_are_tried_before_accuracy_control() -> None:
    bench = Bench(BAD, BAD, GOOD)
    found = bench.search()
    assert bench.tried == ["post-training", "heads in float", "more pictures"]
    assert found.chosen is not None
    assert found.chosen.made == "more pictures"
    assert [bool(own.faults) for own in found.record.attempts] == [True, True, False]


def test_float_ships_where_no_recipe_passes_and_the_reason_says_why() -> None:
    bench = Bench(BAD, measured(0.93), BAD, BAD, OutOfTimeError("accuracy control ran out of time"))
    found = bench.search()
    assert len(bench.tried) == len(RECIPES)
    assert (found.record.shipped, found.record.recipe) == ("f32", None)
    assert "mAP@0.5 0.9000 against 0.9600" in found.record.reason
    assert "accuracy control: accuracy control ran out of time" in found.record.reason
    # The best that was tried is what the report compares with.
    assert found.record.int8_map50 == 0.93


@pytest.mark.parametrize(
    ("budget_s", "tried"),
    [
        pytest.param(0.0, 1, id="the first is tried whatever the time"),
        pytest.param(22.0, 2, id="what does not fit is left out"),
        pytest.param(47.0, 3, id="three fit"),
    ],
)
def test_the_search_does_not_outlast_its_budget(budget_s: float, tried: int) -> None:
    bench = Bench(BAD, BAD, BAD, BAD, BAD, budget_s=budget_s)
    found = bench.search()
    assert len(bench.tried) == tried
    assert found.record.attempts[-1].faults == ("no time left",)
    assert found.record.shipped == "f32"

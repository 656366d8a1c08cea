"""How much worse a new model may be before it has to go."""

import pytest

from edge_agent.update_rules import CanaryWindow, PartFacts, ShadowWindow, wilson
from models.contract.messages import Reason, ReasonCode, Verdict

KNOWN = {"bolt", "scratch"}


def part(category: str | None = None, inference_ms: float = 5.0) -> PartFacts:
    if category is None:
        return PartFacts(None, Verdict.OK, (), inference_ms)
    reason = Reason(code=ReasonCode.DEFECT, category=category)
    return PartFacts(None, Verdict.NOT_OK, (reason,), inference_ms)


@pytest.mark.parametrize(
    ("disagreed", "is_refused"),
    [
        pytest.param(0, False, id="none"),
        pytest.param(3, False, id="three of five may be chance"),
        pytest.param(4, True, id="four of five are not"),
    ],
)
def test_a_few_disagreements_do_not_condemn_a_model(disagreed: int, is_refused: bool) -> None:
    window = ShadowWindow(num_parts=5)
    for number in range(5):
        window.add(disagrees=number < disagreed)
    assert window.is_over
    assert (window.fault() is not None) is is_refused


def test_rejects_that_jump_send_the_model_back() -> None:
    window = CanaryWindow(20, [part()] * 95 + [part("scratch")] * 5, KNOWN)
    for _ in range(10):
        window.add(part("scratch"))
    assert window.fault() == "10 of 10 parts rejected, 5 of 100 before"


def torn_label() -> PartFacts:
    """The new model finds a torn label, and so misses the label that the old one would see."""
    reasons = (
        Reason(code=ReasonCode.MISSING_OBJECT, category="bolt"),
        Reason(code=ReasonCode.DEFECT, category="torn_label"),
    )
    return PartFacts(None, Verdict.NOT_OK, reasons, 5.0, frozenset({"bolt", "torn_label"}))


def test_rejects_for_what_the_old_model_did_not_know_are_no_reason_to_go_back() -> None:
    window = CanaryWindow(20, [part()] * 100, KNOWN)
    for number in range(20):
        window.add(torn_label() if number % 5 else part())
    assert window.is_over
    assert window.fault() is None


def test_model_that_sees_its_new_defect_everywhere_has_to_go() -> None:
    window = CanaryWindow(20, [part()] * 100, KNOWN)
    for _ in range(20):
        window.add(torn_label())
    assert window.fault() == "20 of 20 parts rejected"


def test_one_slow_part_is_no_reason_to_go_back_and_a_slow_model_is() -> None:
    window = CanaryWindow(10, [part()] * 50, KNOWN)
    for number in range(10):
        window.add(part(inference_ms=500.0 if number == 0 else 6.0))
    assert window.fault() is None
    slow = CanaryWindow(10, [part()] * 50, KNOWN)
    for _ in range(10):
        slow.add(part(inference_ms=40.0))
    assert slow.fault() == "inference takes 40.0 ms, 5.0 ms before"


@pytest.mark.parametrize(
    ("successes", "trials", "bounds"),
    [
        pytest.param(0, 0, (0.0, 1.0), id="nothing seen says nothing"),
        pytest.param(0, 10, (0.0, 0.213), id="none of ten"),
        pytest.param(5, 10, (0.269, 0.731), id="half of ten"),
    ],
)
def test_wilson_interval(successes: int, trials: int, bounds: tuple[float, float]) -> None:
    assert wilson(successes, trials) == pytest.approx(bounds, abs=1e-3)

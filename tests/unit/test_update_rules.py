"""How much worse a new model may be before it has to go."""

import pytest

from edge_agent.update_rules import CanaryWindow, Pair, PartFacts, ShadowWindow
from models.contract.messages import Reason, ReasonCode, Verdict

OLD_REJECTS, NEW_REJECTS = Pair(old_rejects=True), Pair(new_rejects=True)
BOTH_REJECT, BOTH_PASS = Pair(old_rejects=True, new_rejects=True), Pair()
FLOOD = Pair(is_flooded=True)


def part(inference_ms: float = 5.0, *, is_rejected: bool = False) -> PartFacts:
    reasons = (Reason(code=ReasonCode.DEFECT, category="scratch"),) if is_rejected else ()
    verdict = Verdict.NOT_OK if is_rejected else Verdict.OK
    return PartFacts(None, verdict, reasons, inference_ms)


def canary(*pairs: Pair, num_parts: int = 20) -> CanaryWindow:
    window = CanaryWindow(num_parts, [part()] * 100)
    for pair in pairs:
        window.add(part(is_rejected=pair.new_rejects or pair.is_flooded))
        window.comparison.add(pair)
    return window


@pytest.mark.parametrize(
    ("disagreed", "is_refused"),
    [
        pytest.param(0, False, id="none"),
        pytest.param(1, False, id="one of five may be chance"),
        pytest.param(5, True, id="five of five are not"),
    ],
)
def test_a_few_disagreements_do_not_condemn_a_model(disagreed: int, is_refused: bool) -> None:
    window = ShadowWindow(num_parts=5)
    for number in range(5):
        window.comparison.add(OLD_REJECTS if number < disagreed else BOTH_REJECT)
    assert window.is_over
    assert (window.fault() is not None) is is_refused


@pytest.mark.parametrize(
    ("pairs", "fault"),
    [
        pytest.param([BOTH_PASS] * 20, None, id="all is as before"),
        pytest.param([BOTH_REJECT] * 20, None, id="a run of parts that are really bad"),
        pytest.param([NEW_REJECTS] + [BOTH_PASS] * 9, None, id="one reject more"),
        pytest.param(
            [BOTH_PASS] * 4 + [NEW_REJECTS] * 5,
            "rejects 5 of 9 parts that the model before passes",
            id="rejects what was good",
        ),
        pytest.param(
            [BOTH_PASS] * 60 + [OLD_REJECTS] * 8,
            "passes 8 of 8 parts that the model before rejects",
            id="passes what was bad",
        ),
        pytest.param(
            [OLD_REJECTS] * 5,
            "disagrees with the model before on 5 of 5 parts",
            id="disagrees from the start",
        ),
        pytest.param([FLOOD] * 12 + [BOTH_PASS] * 8, None, id="finds its new defect often"),
        pytest.param(
            [FLOOD] * 20,
            "rejects 20 of 20 parts for what only it knows",
            id="finds its new defect everywhere",
        ),
    ],
)
def test_model_goes_back_for_its_own_doing_only(pairs: list[Pair], fault: str | None) -> None:
    assert canary(*pairs).fault() == fault


def test_window_waits_for_the_second_look_but_not_for_ever() -> None:
    window = CanaryWindow(4, [part()])
    for _ in range(4):
        window.add(part())
    assert not window.is_over, "the old model has not looked at any"
    window.comparison.add(BOTH_PASS)
    window.comparison.add(BOTH_PASS)
    assert window.is_over
    unseen = CanaryWindow(4, [part()])
    for _ in range(16):
        unseen.add(part())
    assert unseen.is_over


def test_one_slow_part_is_no_reason_to_go_back_and_a_slow_model_is() -> None:
    window = CanaryWindow(10, [part()] * 50)
    for number in range(10):
        window.add(part(500.0 if number == 0 else 6.0))
    assert window.fault() is None
    slow = CanaryWindow(10, [part()] * 50)
    for _ in range(10):
        slow.add(part(40.0))
    assert slow.fault() == "inference takes 40.0 ms, 5.0 ms before"


def test_machine_that_has_become_slow_is_not_held_against_the_model() -> None:
    window = CanaryWindow(10, [part()] * 50)
    for _ in range(10):
        window.add(part(40.0))
        window.comparison.add(Pair(old_ms=35.0))
    assert window.fault() is None


def test_part_that_the_model_could_not_judge_sends_it_back() -> None:
    window = CanaryWindow(10, [])
    window.add(
        PartFacts(None, Verdict.NOT_DECIDABLE, (Reason(code=ReasonCode.MODEL_FAULT, text="NaN"),))
    )
    assert window.fault() == "1 parts not judged: NaN"

from uuid import uuid4

import pytest

from models.contract.messages import PlcResult, Rejection, Trigger, TriggerAck, Verdict
from simulators.cell import CellCycle
from simulators.handshake import NS_PER_MS, TriggerBook, percentile
from simulators.truth import TruePart


def trigger(trigger_id: str = "t1", deadline_ms: int = 100) -> Trigger:
    return Trigger(trigger_id=trigger_id, part_id="p1", recipe_id="plate", deadline_ms=deadline_ms)


def result(trigger_id: str = "t1", verdict: Verdict = Verdict.OK) -> PlcResult:
    return PlcResult(
        trigger_id=trigger_id,
        result_id=uuid4(),
        job_id=uuid4(),
        part_id="p1",
        view="main",
        verdict=verdict,
        recipe_id="plate",
        recipe_version=1,
        processing_ms=5,
    )


def test_latency_is_trigger_to_first_result_on_the_plcs_clock() -> None:
    book = TriggerBook()
    exchange = book.sent(trigger(), 0)
    answer = result()
    book.on_result(answer, 12 * NS_PER_MS)
    book.on_result(answer, 900 * NS_PER_MS)
    assert exchange.latency_ms == 12
    figures = book.statistics()
    assert figures.duplicates == 1
    assert figures.contradictions == 0
    assert figures.latencies_ms == (12,)


def test_a_second_answer_that_differs_is_a_contradiction() -> None:
    book = TriggerBook()
    book.sent(trigger(), 0)
    book.on_result(result(), 1)
    book.on_result(result(verdict=Verdict.NOT_OK), 2)
    assert book.statistics().contradictions == 1


@pytest.mark.parametrize(
    ("after_ms", "late"),
    [
        pytest.param(100, 0, id="exactly at the deadline is in time"),
        pytest.param(101, 1, id="after it is late"),
    ],
)
def test_a_result_after_the_deadline_is_late(after_ms: int, late: int) -> None:
    book = TriggerBook()
    exchange = book.sent(trigger(deadline_ms=100), 0)
    book.on_result(result(), after_ms * NS_PER_MS)
    assert book.statistics().late == late
    assert book.statistics().late_ok == late
    acted_on = CellCycle(TruePart("p1", "cell", (), Verdict.OK), exchange).verdict
    assert acted_on is (Verdict.NOT_DECIDABLE if late else Verdict.OK)


def test_a_rejection_ends_the_exchange_and_is_no_miss() -> None:
    book = TriggerBook()
    exchange = book.sent(trigger(), 0)
    book.on_ack(TriggerAck(trigger_id="t1", rejection=Rejection.BUSY), 1)
    book.give_up(exchange)
    assert exchange.is_done
    assert book.statistics().refused == {Rejection.BUSY: 1}
    assert book.statistics().missed == 0


def test_a_miss_while_the_broker_was_away_is_told_apart() -> None:
    book = TriggerBook()
    first = book.sent(trigger("t1"), 0)
    book.on_connection_lost()
    book.give_up(first)
    book.give_up(book.sent(trigger("t2"), 1))
    assert book.statistics().missed == 2
    assert book.statistics().missed_connected == 1


def test_a_repeat_is_the_same_exchange() -> None:
    book = TriggerBook()
    assert book.sent(trigger(), 0) is book.sent(trigger(), 5)
    assert book.statistics().triggers == 1


def test_a_result_for_somebody_else_is_counted_and_not_acknowledged() -> None:
    book = TriggerBook()
    assert not book.on_result(result("other"), 1)
    assert book.statistics().unknown == 1


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0)]
)
def test_percentile_is_the_nearest_rank(share: float, expected: float) -> None:
    assert percentile([float(n) for n in range(1, 101)], share) == expected


def test_percentile_of_nothing_is_zero() -> None:
    assert percentile([], 0.5) == 0

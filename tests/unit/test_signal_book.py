"""What the terminal monitor makes of the messages between PLC and cell."""

from uuid import uuid4

import pytest

from edge_agent.clock import NS_PER_MS, NS_PER_S
from edge_agent.signal_book import SignalBook
from models.contract.messages import (
    Acquired,
    Connection,
    Message,
    PlcResult,
    Rejection,
    ResultAck,
    StationState,
    StationStatus,
    Trigger,
    TriggerAck,
    Verdict,
)
from models.contract.topics import Channel

TRIGGER = Trigger(trigger_id="t1", part_id="p1", recipe_id="plate")
RESULT = PlcResult(
    trigger_id="t1",
    result_id=uuid4(),
    job_id=uuid4(),
    part_id="p1",
    view="main",
    verdict=Verdict.NOT_OK,
    recipe_id="plate",
    recipe_version=1,
    processing_ms=5,
)


def tell(book: SignalBook, *messages: tuple[Channel, Message], at_ms: int = 0) -> None:
    for number, (channel, message) in enumerate(messages):
        book.take_in(channel, message.to_bytes(), (at_ms + number) * NS_PER_MS)


def status(state: StationState = StationState.READY) -> tuple[Channel, Message]:
    said = StationStatus(cell="a/b/c/d", connection=Connection.ONLINE, station_state=state)
    return Channel.STATE, said


def test_signals_follow_the_handshake() -> None:
    book = SignalBook()
    tell(book, status(), (Channel.TRIGGER, TRIGGER))
    assert book.signals(0).ready
    assert book.signals(0).trigger
    tell(book, (Channel.ACK, TriggerAck(trigger_id="t1", acquisition_id=7)), at_ms=3)
    now = book.signals(0)
    assert (now.trigger, now.trigger_ack, now.acquisition_id) == (False, True, 7)
    tell(book, (Channel.ACQUIRED, Acquired(trigger_id="t1", acquisition_id=7)), at_ms=4)
    tell(book, (Channel.RESULT, RESULT), (Channel.RESULT, RESULT), at_ms=8)
    now = book.signals(0)
    assert now.acquisition_done
    assert now.inspection_completed
    assert now.results_valid
    tell(book, (Channel.RESULT_ACK, ResultAck(trigger_id="t1")), at_ms=20)
    assert not book.signals(0).results_valid
    (line,) = book.lines
    assert (line.ack_ms, line.acquired_ms, line.result_ms) == (2.0, 3.0, 7.0)
    assert (line.answer, line.is_acknowledged) == ("not_ok", True)
    assert book.counters["results_resent"] == 1


def test_repeats_overruns_and_rubbish_are_counted() -> None:
    book = SignalBook()
    busy = TriggerAck(trigger_id="t1", rejection=Rejection.BUSY)
    tell(book, (Channel.TRIGGER, TRIGGER), (Channel.TRIGGER, TRIGGER), (Channel.ACK, busy))
    book.take_in(Channel.TRIGGER, b"{", 0)
    tell(book, (Channel.RESULT, RESULT.model_copy(update={"trigger_id": "of another"})))
    assert book.signals(0).overrun
    assert book.counters == {
        "triggers": 1,
        "repeated_triggers": 1,
        "refused_busy": 1,
        "malformed": 1,
        "results_without_trigger": 1,
    }
    assert book.last_fault.startswith("plc/trigger: Trigger")


@pytest.mark.parametrize(
    ("age_s", "is_live"), [pytest.param(2.9, True, id="late"), pytest.param(3.0, False, id="stale")]
)
def test_old_state_is_shown_as_stale(age_s: float, is_live: bool) -> None:
    book = SignalBook()
    tell(book, status())
    now_ns = int(age_s * NS_PER_S)
    assert book.is_live(now_ns) is is_live
    assert book.signals(now_ns).ready is is_live

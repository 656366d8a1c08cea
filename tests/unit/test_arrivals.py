import json
from datetime import UTC, datetime
from uuid import UUID, uuid4

from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.arrivals import (
    Delivery,
    Key,
    RecordArrival,
    RefusedArrival,
    acknowledgements,
    read_delivery,
)
from models.contract.messages import MAX_ACKED, Event, StationEvent, Stream
from models.contract.topics import CellAddress, Channel

CELL = CellAddress("plant", "area", "line", "cell")
BOOT = uuid4()


def deliver(payload: bytes, channel: Channel = Channel.EVENT) -> Delivery:
    return Delivery(CELL.topic(channel), payload, (), datetime.now(UTC))


def event(seq: int, cell: CellAddress = CELL) -> bytes:
    body = StationEvent(code="started")
    return Event(
        cell=str(cell), boot_id=BOOT, seq=seq, created_at=datetime.now(UTC), body=body
    ).to_bytes()


def test_a_record_is_read_with_the_key_that_its_cell_is_told() -> None:
    arrival = read_delivery(deliver(event(7)))
    assert isinstance(arrival, RecordArrival)
    assert arrival.key == Key(CELL, Stream.RECORDS, BOOT, 7)


def test_a_cell_cannot_write_in_the_name_of_another() -> None:
    other = CellAddress("plant", "area", "line", "other")
    arrival = read_delivery(deliver(event(7, other)))
    assert isinstance(arrival, RefusedArrival)
    assert "other" in arrival.reason


def test_what_is_wrong_but_names_its_key_is_refused_by_that_key() -> None:
    arrival = read_delivery(deliver(f'{{"boot_id": "{BOOT}", "seq": 3, "body": 1}}'.encode()))
    assert isinstance(arrival, RefusedArrival)
    assert arrival.key == Key(CELL, Stream.RECORDS, BOOT, 3)
    [(cell, ack)] = acknowledgements([arrival])
    assert (cell, ack.seqs) == (CELL, ())
    assert [refusal.seq for refusal in ack.refused] == [3]


def test_a_cleared_retained_message_is_nothing() -> None:
    assert read_delivery(deliver(b"", Channel.STATE)) is None


def test_acknowledgements_stay_under_the_limit_and_name_everything_once() -> None:
    arrivals = [read_delivery(deliver(event(seq))) for seq in range(1, 2 * MAX_ACKED + 2)]
    acks = [ack for _, ack in acknowledgements([item for item in arrivals if item is not None])]
    assert [len(ack.seqs) for ack in acks] == [MAX_ACKED, MAX_ACKED, 1]
    assert sorted(seq for ack in acks for seq in ack.seqs) == list(range(1, 2 * MAX_ACKED + 2))


@settings(max_examples=200, deadline=None)
@given(
    payload=st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    ).map(lambda value: json.dumps(value).encode()),
    topic=st.sampled_from([CELL.topic(channel) for channel in Channel]) | st.text(),
)
def test_nothing_that_arrives_can_raise(payload: bytes, topic: str) -> None:
    delivery = Delivery(topic, payload, (("seq", "x"),), datetime.now(UTC))
    arrival = read_delivery(delivery)
    if isinstance(arrival, RefusedArrival):
        assert arrival.reason
        assert arrival.key is None or isinstance(arrival.key.boot_id, UUID)

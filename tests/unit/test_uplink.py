"""Which rows go to the cloud next, and which once more."""

from uuid import UUID

from edge_agent.outbox_rows import OutboxRow
from edge_agent.uplink import MAX_PASSED, RowFeed, SendWindow, pieces_of
from models.contract.messages import IngestAck, Refusal, Stream

BOOT = UUID(int=1)
NS_PER_S = 10**9


def make_row(row_id: int) -> OutboxRow:
    return OutboxRow(row_id, Stream.RECORDS, BOOT, row_id, b"{}", None, 0)


class Rows:
    """An outbox in memory."""

    def __init__(self, count: int) -> None:
        self.rows = [make_row(number) for number in range(1, count + 1)]

    def read(
        self, stream: Stream, *, after: int = 0, until: int | None = None, limit: int = 100
    ) -> list[OutboxRow]:
        last = until or 2**62
        return [row for row in self.rows if row.stream is stream and after < row.row_id <= last][
            :limit
        ]

    def newest_row_id(self) -> int:
        return self.rows[-1].row_id if self.rows else 0

    def append(self, count: int) -> None:
        for _ in range(count):
            self.rows.append(make_row(self.newest_row_id() + 1))


class ManualClock:
    """Time that is moved by hand."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns

    def forward(self, seconds: float) -> None:
        self.now_ns += int(seconds * NS_PER_S)


def ids(rows: list[OutboxRow]) -> list[int]:
    return [row.row_id for row in rows]


def test_rows_are_given_out_once_in_order() -> None:
    feed = RowFeed(Rows(5), Stream.RECORDS)
    assert ids(feed.take(3)) == [1, 2, 3]
    assert ids(feed.take(3)) == [4, 5]
    assert feed.take(3) == []


def test_fresh_rows_go_before_what_had_piled_up() -> None:
    source = Rows(4)
    feed = RowFeed(source, Stream.RECORDS)
    assert ids(feed.take(1)) == [1]
    source.append(2)
    assert ids(feed.take(3)) == [5, 6, 2]
    assert ids(feed.take(9)) == [3, 4]


def test_what_piled_up_while_the_cloud_was_away_counts_as_old() -> None:
    source = Rows(2)
    feed = RowFeed(source, Stream.RECORDS)
    assert ids(feed.take(9)) == [1, 2]
    source.append(3)
    feed.prefer_fresh()
    source.append(1)
    assert ids(feed.take(2)) == [6, 3]
    assert ids(feed.take(9)) == [4, 5]


def test_nothing_is_skipped_when_the_cloud_goes_away_again_amid_a_backlog() -> None:
    source = Rows(4)
    feed = RowFeed(source, Stream.RECORDS)
    given = set(ids(feed.take(2)))
    source.append(2)
    given |= set(ids(feed.take(1)))
    feed.prefer_fresh()
    source.append(1)
    given |= set(ids(feed.take(99)))
    assert given == {1, 2, 3, 4, 5, 6, 7}


def test_window_lets_only_so_many_rows_on_the_way() -> None:
    window = SendWindow(size=2, resend_s=10, monotonic_ns=ManualClock())
    window.add(make_row(1))
    window.add(make_row(2))
    assert window.room == 0
    window.settle([make_row(1).key])
    assert window.room == 1


def test_unanswered_row_is_due_again_with_growing_patience() -> None:
    clock = ManualClock()
    window = SendWindow(size=2, resend_s=10, monotonic_ns=clock)
    window.add(make_row(1))
    due_after_s = []
    for second in range(1, 120):
        clock.forward(1)
        for row in window.overdue():
            due_after_s.append(second)
            window.add(row)
    assert due_after_s == [10, 30, 70, 110]


def test_first_answer_makes_the_wait_short_again() -> None:
    clock = ManualClock()
    window = SendWindow(size=5, resend_s=10, monotonic_ns=clock)
    window.add(make_row(1))
    window.add(make_row(2))
    clock.forward(40)
    for row in window.overdue():
        window.add(row)
    window.settle([make_row(1).key])
    clock.forward(10)
    assert ids(window.overdue()) == [2]


def test_late_answer_for_a_row_that_is_gone_does_no_harm() -> None:
    window = SendWindow(size=1, resend_s=10, monotonic_ns=ManualClock())
    window.settle([make_row(7).key])
    assert window.room == 1


def test_row_that_the_cloud_passes_over_again_and_again_is_poison() -> None:
    clock = ManualClock()
    window = SendWindow(size=5, resend_s=10, monotonic_ns=clock)
    window.add(make_row(1))
    for number in range(2, 2 + MAX_PASSED):
        assert window.poisoned() == []
        window.add(make_row(number))
        window.settle([make_row(number).key])
        clock.forward(10)
        for row in window.overdue():
            window.add(row)
    assert ids(window.poisoned()) == [1]


def test_row_is_no_poison_while_nothing_at_all_is_answered() -> None:
    clock = ManualClock()
    window = SendWindow(size=5, resend_s=10, monotonic_ns=clock)
    window.add(make_row(1))
    for _ in range(50):
        clock.forward(40)
        for row in window.overdue():
            window.add(row)
    assert window.poisoned() == []


def test_answers_for_many_rows_are_taken_in_small_pieces_and_none_is_lost() -> None:
    refused = tuple(Refusal(seq=seq, cause="too old") for seq in range(300, 305))
    acks = [
        IngestAck(stream=Stream.RECORDS, boot_id=BOOT, seqs=tuple(range(1, 151)), refused=refused),
        IngestAck(stream=Stream.IMAGES, boot_id=BOOT, seqs=(7,)),
    ]
    pieces = list(pieces_of(acks, 64))
    sizes = [sum(len(a.seqs) + len(a.refused) for a in piece) for piece in pieces]
    assert sizes == [64, 64, 28]
    told = [a for piece in pieces for a in piece]
    seqs = [seq for a in told for seq in a.seqs if a.stream is Stream.RECORDS]
    assert seqs == list(range(1, 151))
    assert [refusal for a in told for refusal in a.refused] == list(refused)
    assert [a.seqs for a in told if a.stream is Stream.IMAGES] == [(7,)]

"""Which rows of the outbox go to the cloud next, and which once more. No I/O but the outbox."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from edge_agent.outbox_rows import OutboxRow, RowKey
from edge_agent.token_bucket import NS_PER_S
from models.contract.messages import IngestAck, Stream

MAX_PASSED = 12
"""Times that a row is sent in vain while others are answered, before it is set aside."""
MAX_PATIENCE = 4
"""The wait for an acknowledgement doubles up to this many times the first one."""


def pieces_of(acks: Iterable[IngestAck], size: int) -> Iterator[list[IngestAck]]:
    """The same answers in pieces of at most ``size`` rows, refused ones counted with them."""
    piece: list[IngestAck] = []
    room = size
    for ack in acks:
        seqs, refused = ack.seqs, ack.refused
        while seqs or refused:
            part = ack.model_copy(update={"seqs": seqs[:room], "refused": ()})
            seqs, left = seqs[room:], room - len(part.seqs)
            part = part.model_copy(update={"refused": refused[:left]})
            refused, room = refused[left:], left - len(part.refused)
            piece.append(part)
            if room == 0:
                yield piece
                piece, room = [], size
    if piece:
        yield piece


class RowSource(Protocol):
    """The outbox, as far as sending reads it."""

    def read(
        self, stream: Stream, *, after: int = 0, until: int | None = None, limit: int = 100
    ) -> list[OutboxRow]:
        """Rows in the order of their appending."""
        ...

    def newest_row_id(self) -> int:
        """The largest ``row_id`` given so far."""
        ...


class RowFeed:
    """One stream's rows in the order of sending: fresh ones first, then what had piled up.

    A line that comes back after an hour without the cloud shows its present state at once.
    """

    def __init__(self, source: RowSource, stream: Stream) -> None:
        self._source = source
        self._stream = stream
        self._backlog_end = self._fresh_from = source.newest_row_id()
        self._backlog_from = 0

    def prefer_fresh(self) -> None:
        """The cloud is back: what waits is backlog, what is appended from now on is fresh.

        Rows that are on the way may be given out once more.
        """
        if self._backlog_from >= self._backlog_end:
            self._backlog_from = self._fresh_from
        self._backlog_end = self._fresh_from = self._source.newest_row_id()

    def take(self, limit: int) -> list[OutboxRow]:
        """Up to ``limit`` rows that were not taken yet."""
        if limit <= 0:
            return []
        fresh = self._source.read(self._stream, after=self._fresh_from, limit=limit)
        if fresh:
            self._fresh_from = fresh[-1].row_id
        if len(fresh) == limit or self._backlog_from >= self._backlog_end:
            return fresh
        backlog = self._source.read(
            self._stream,
            after=self._backlog_from,
            until=self._backlog_end,
            limit=limit - len(fresh),
        )
        self._backlog_from = backlog[-1].row_id if backlog else self._backlog_end
        return fresh + backlog


@dataclass(slots=True)
class _Sent:
    row: OutboxRow
    at_ns: int
    num_settled: int
    """Answers that had come for other rows when this one was sent."""
    num_passed: int = 0
    """Times that it was sent in vain while others were answered."""


class SendWindow:
    """Rows on the way that the cloud has not acknowledged.

    While nothing at all comes back the wait doubles, so that a cloud that is down does not find
    the same rows hundreds of times in the broker's queue; the first answer makes it short again.

    Args:
        size: rows on the way at once.
        resend_s: wait for an acknowledgement.
        monotonic_ns: the clock.
    """

    def __init__(self, *, size: int, resend_s: float, monotonic_ns: Callable[[], int]) -> None:
        self._size = size
        self._resend_ns = int(resend_s * NS_PER_S)
        self._monotonic_ns = monotonic_ns
        self._patience = 1
        self._widened_ns = -(2**62)
        self._num_settled = 0
        self._sent: dict[RowKey, _Sent] = {}

    def __contains__(self, key: RowKey) -> bool:
        return key in self._sent

    @property
    def room(self) -> int:
        """Rows that may be sent now."""
        return self._size - len(self._sent)

    def add(self, row: OutboxRow) -> None:
        """A row was sent, for the first time or again."""
        before = self._sent.get(row.key)
        num_passed = 0
        if before is not None:
            num_passed = before.num_passed + (self._num_settled > before.num_settled)
        self._sent[row.key] = _Sent(row, self._monotonic_ns(), self._num_settled, num_passed)

    def settle(self, keys: Iterable[RowKey]) -> None:
        """The cloud has answered for these."""
        self._patience = 1
        for key in keys:
            self._num_settled += self._sent.pop(key, None) is not None

    def overdue(self) -> list[OutboxRow]:
        """Rows to send once more; oldest first."""
        latest_ns = self._monotonic_ns() - self._resend_ns * self._patience
        rows = [sent.row for sent in self._sent.values() if sent.at_ns <= latest_ns]
        if rows and self._widened_ns <= latest_ns:
            self._patience = min(self._patience * 2, MAX_PATIENCE)
            self._widened_ns = self._monotonic_ns()
        return rows

    def poisoned(self) -> list[OutboxRow]:
        """Rows that the cloud has passed over so often that they only take others' place."""
        return [sent.row for sent in self._sent.values() if sent.num_passed >= MAX_PASSED]

    def be_hopeful(self) -> None:
        """The connection is back: rows that wait longer than the first patience go again."""
        self._patience = 1

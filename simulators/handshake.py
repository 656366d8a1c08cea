"""What a PLC writes down about its triggers; pure, so that the figures can be trusted.

Every time is the PLC's own monotonic clock: the station's figures do not include the network.
"""

from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

from models.contract.bundle import ModelRef
from models.contract.messages import (
    Acquired,
    PlcResult,
    Rejection,
    Trigger,
    TriggerAck,
    Verdict,
)

NS_PER_MS = 1_000_000


@dataclass(slots=True)
class Exchange:
    """One trigger and everything that came back for it."""

    trigger: Trigger
    sent_ns: int
    connected: bool = True
    """False once the broker was away while the trigger was out."""
    acked_ns: int | None = None
    acquired_ns: int | None = None
    answered_ns: int | None = None
    rejection: Rejection | None = None
    result: PlcResult | None = None
    num_results: int = 0
    num_repeats: int = 0
    is_contradicted: bool = False
    """A second answer differed from the first: must never be."""
    is_missed: bool = False

    @property
    def is_done(self) -> bool:
        """Whether the PLC need not wait any longer."""
        return self.result is not None or self.rejection is not None or self.is_missed

    @property
    def latency_ms(self) -> float | None:
        """Trigger to result."""
        if self.answered_ns is None:
            return None
        return (self.answered_ns - self.sent_ns) / NS_PER_MS

    @property
    def is_late(self) -> bool:
        """Whether the result came after the deadline, on the PLC's clock."""
        deadline_ms, latency_ms = self.trigger.deadline_ms, self.latency_ms
        return deadline_ms is not None and latency_ms is not None and latency_ms > deadline_ms


@dataclass(frozen=True, slots=True)
class PlcStatistics:
    """What one PLC has seen so far.

    Attributes:
        triggers: Triggers sent, repeats not counted.
        verdicts: Results by verdict.
        refused: Rejected triggers by reason.
        missed: Triggers that got neither result nor rejection in time.
        missed_connected: Of those, the ones during which the broker was there all the time.
        late: Results after the deadline.
        late_ok: Of those, the ones that said OK: must never be.
        duplicates: Results that came again, as the contract allows.
        contradictions: Second answers that differ from the first: must never be.
        unknown: Results for triggers that this PLC never sent.
        latencies_ms: Trigger to result, in the order of arrival.
    """

    triggers: int
    verdicts: dict[Verdict, int]
    refused: dict[Rejection, int]
    missed: int
    missed_connected: int
    late: int
    late_ok: int
    duplicates: int
    contradictions: int
    unknown: int
    latencies_ms: tuple[float, ...] = field(repr=False)


def percentile(values: tuple[float, ...] | list[float], share: float) -> float:
    """Nearest-rank percentile; 0 for no values."""
    if not values:
        return 0.0
    ordered = sorted(values)
    rank = max(1, -int(-share * len(ordered) // 1))
    return ordered[min(rank, len(ordered)) - 1]


class TriggerBook:
    """Every exchange of one PLC, kept by trigger id."""

    def __init__(self) -> None:
        self._exchanges: dict[str, Exchange] = {}
        self._num_unknown = 0

    def sent(self, trigger: Trigger, now_ns: int) -> Exchange:
        """A trigger goes out; the same id again is a repeat of the same exchange."""
        exchange = self._exchanges.get(trigger.trigger_id)
        if exchange is None:
            exchange = self._exchanges[trigger.trigger_id] = Exchange(trigger, now_ns)
        else:
            exchange.num_repeats += 1
        return exchange

    def on_ack(self, ack: TriggerAck, now_ns: int) -> None:
        """The station took the trigger, or refused it."""
        exchange = self._exchanges.get(ack.trigger_id)
        if exchange is None or exchange.acked_ns is not None:
            return
        exchange.acked_ns = now_ns
        exchange.rejection = ack.rejection

    def on_acquired(self, acquired: Acquired, now_ns: int) -> None:
        """The picture is taken."""
        exchange = self._exchanges.get(acquired.trigger_id)
        if exchange is not None and exchange.acquired_ns is None:
            exchange.acquired_ns = now_ns

    def on_result(self, result: PlcResult, now_ns: int) -> bool:
        """A result arrived; whether it answers a trigger of this PLC."""
        exchange = self._exchanges.get(result.trigger_id)
        if exchange is None:
            self._num_unknown += 1
            return False
        exchange.num_results += 1
        if exchange.result is None:
            exchange.result, exchange.answered_ns = result, now_ns
        elif _answer(exchange.result) != _answer(result):
            exchange.is_contradicted = True
        return True

    def on_connection_lost(self) -> None:
        """The broker went away: what is out now may be lost with it."""
        for exchange in self._exchanges.values():
            if not exchange.is_done:
                exchange.connected = False

    def give_up(self, exchange: Exchange) -> None:
        """No answer came in time."""
        if not exchange.is_done:
            exchange.is_missed = True

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """All of them, oldest first."""
        return tuple(self._exchanges.values())

    def statistics(self) -> PlcStatistics:
        """Sum up."""
        exchanges = self.exchanges
        answered = [e for e in exchanges if e.result is not None]
        late = [e for e in answered if e.is_late]
        missed = [e for e in exchanges if e.is_missed]
        return PlcStatistics(
            triggers=len(exchanges),
            verdicts=dict(Counter(e.result.verdict for e in answered if e.result)),
            refused=dict(Counter(e.rejection for e in exchanges if e.rejection)),
            missed=len(missed),
            missed_connected=sum(e.connected for e in missed),
            late=len(late),
            late_ok=sum(e.result is not None and e.result.verdict is Verdict.OK for e in late),
            duplicates=sum(max(e.num_results - 1, 0) for e in exchanges),
            contradictions=sum(e.is_contradicted for e in exchanges),
            unknown=self._num_unknown,
            latencies_ms=tuple(e.latency_ms for e in answered if e.latency_ms is not None),
        )


def _answer(result: PlcResult) -> tuple[UUID, Verdict, ModelRef | None]:
    return result.result_id, result.verdict, result.model

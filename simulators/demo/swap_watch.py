"""When a cell changes its model, and whether its PLC noticed; pure bookkeeping."""

from collections.abc import Iterable
from dataclasses import dataclass

from models.contract.messages import ModelPhase, Reported, Verdict
from simulators.handshake import Exchange

SETTLED = frozenset({ModelPhase.ACTIVE, ModelPhase.FAILED, ModelPhase.ROLLED_BACK})
MARGIN_NS = 2_000_000_000
"""A report travels and is sent now and then: the window is widened by this on both sides."""


@dataclass(slots=True)
class Window:
    """A stretch of the PLC's clock in which a cell was busy with a new model."""

    begin_ns: int
    end_ns: int | None = None

    def covers(self, moment_ns: int) -> bool:
        """Whether a moment lies inside, margins included."""
        begins = self.begin_ns - MARGIN_NS <= moment_ns
        return begins and (self.end_ns is None or moment_ns <= self.end_ns + MARGIN_NS)


class SwapWatch:
    """Follows what cells report about their models."""

    def __init__(self) -> None:
        self._windows: dict[str, list[Window]] = {}
        self._last: dict[str, Reported] = {}

    def on_reported(self, report: Reported, now_ns: int) -> Reported | None:
        """Take a report; answers the one before of the same cell."""
        before = self._last.get(report.cell)
        self._last[report.cell] = report
        windows = self._windows.setdefault(report.cell, [])
        is_open = bool(windows) and windows[-1].end_ns is None
        is_busy = report.phase not in SETTLED
        has_changed = before is not None and before.model != report.model
        if (is_busy or has_changed) and not is_open:
            windows.append(Window(now_ns))
            is_open = True
        if is_open and not is_busy:
            windows[-1].end_ns = now_ns
        return before

    def last(self, cell: str) -> Reported | None:
        """What a cell reported last."""
        return self._last.get(cell)

    def num_swaps(self, cell: str) -> int:
        """Stretches in which the cell was busy with a new model."""
        return len(self._windows.get(cell, ()))

    def missed(self, cell: str, exchanges: Iterable[Exchange]) -> int:
        """Triggers without an inspection while the cell was busy with a new model.

        Neither an answer, nor a refusal, nor NOT_DECIDABLE is an inspection. What was under way
        while the broker itself was gone is not the swap's doing and not counted.
        """
        windows = self._windows.get(cell, ())
        return sum(
            exchange.connected
            and not _is_inspected(exchange)
            and any(window.covers(exchange.sent_ns) for window in windows)
            for exchange in exchanges
            if exchange.is_done
        )


def _is_inspected(exchange: Exchange) -> bool:
    return exchange.result is not None and exchange.result.verdict is not Verdict.NOT_DECIDABLE

"""One simulated cell: parts come in, the camera sees them, the PLC has them inspected."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.contract.messages import Verdict
from simulators.camera import SpoolCamera
from simulators.handshake import Exchange
from simulators.plc import Plc
from simulators.sources import PartSource
from simulators.truth import TruePart, TruthBook

READY_POLL_S = 0.5
REPORT_AFTER_PARTS = 2
"""The downstream station sees a part this many parts later."""
MAX_TRIES = 5


@dataclass(frozen=True, slots=True)
class CellCycle:
    """One part that went through a cell."""

    truth: TruePart
    exchange: Exchange

    @property
    def verdict(self) -> Verdict:
        """What the PLC acts on: a part without an answer in time goes to manual inspection."""
        result = self.exchange.result
        is_in_time = result is not None and not self.exchange.is_late
        return result.verdict if result and is_in_time else Verdict.NOT_DECIDABLE

    @property
    def is_escape(self) -> bool:
        """A bad part that passed."""
        return self.verdict is Verdict.OK and self.truth.actual is Verdict.NOT_OK

    @property
    def is_false_reject(self) -> bool:
        """A good part that was rejected."""
        return self.verdict is Verdict.NOT_OK and self.truth.actual is Verdict.OK


class SimulatedCell:
    """Runs parts through one cell from a thread of its own.

    Args:
        source: Parts by index.
        camera: Where their pictures go.
        plc: The cell's PLC, started.
        truth: Gets every part before it is inspected.
        cadence_s: Time between two triggers.
        found_downstream: Share of the wrong verdicts that a later station finds and reports.
        on_cycle: Told of each part, on the cell's thread.
        seed: Decides which wrong verdicts are found.
    """

    def __init__(
        self,
        source: PartSource,
        camera: SpoolCamera,
        plc: Plc,
        truth: TruthBook,
        *,
        cadence_s: float = 1.0,
        found_downstream: float = 0.5,
        on_cycle: Callable[[CellCycle], None] = lambda _: None,
        seed: int = 0,
    ) -> None:
        self.plc = plc
        self.camera = camera
        self.cadence_s = cadence_s
        self._source = source
        self._truth = truth
        self._found_downstream = found_downstream
        self._on_cycle = on_cycle
        self._rng = np.random.default_rng(seed)
        self._downstream: deque[tuple[int, TruePart]] = deque()
        self._index = truth.count(str(plc.cell))

    def run(self, stop: threading.Event, *, num_parts: int | None = None) -> int:
        """Send parts until told to stop; how many were sent."""
        done = 0
        next_at = time.monotonic()
        while not stop.is_set() and (num_parts is None or done < num_parts):
            if not self.plc.wait_station_ready(READY_POLL_S):
                continue
            self._cycle(stop)
            done += 1
            next_at = max(next_at + self.cadence_s, time.monotonic())
            stop.wait(next_at - time.monotonic())
        return done

    def _cycle(self, stop: threading.Event) -> None:
        part = self._source.part(self._index)
        self._index += 1
        self._truth.add(part.truth)
        exchange = self._inspect(part.truth.part_id, part.picture, part.suffix, stop)
        cycle = CellCycle(part.truth, exchange)
        self._on_cycle(cycle)
        self._report_downstream(cycle)

    def _inspect(
        self, part_id: str, picture: bytes, suffix: str, stop: threading.Event
    ) -> Exchange:
        """The part stays in place until it has an answer, or nobody believes in one any more."""
        for _ in range(MAX_TRIES):
            self.camera.expose(part_id, picture, suffix)
            exchange = self.plc.inspect(part_id, stop=stop)
            if exchange.result is not None or stop.is_set():
                break
            self.plc.wait_station_ready(self.plc.settings.patience_s)
        self.camera.clear()
        return exchange

    def _report_downstream(self, cycle: CellCycle) -> None:
        is_wrong = cycle.is_escape or cycle.is_false_reject
        if is_wrong and self._rng.random() < self._found_downstream:
            self._downstream.append((self._index + REPORT_AFTER_PARTS, cycle.truth))
        while self._downstream and self._downstream[0][0] <= self._index:
            _, truth = self._downstream.popleft()
            self.plc.report_truth(truth.part_id, truth.actual)

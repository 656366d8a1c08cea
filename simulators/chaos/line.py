"""A line of dark and bright parts whose every verdict is checked against the truth."""

import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from models.contract.messages import Verdict
from models.contract.topics import CellAddress
from simulators.broker_link import BrokerAddress
from simulators.camera import SpoolCamera
from simulators.chaos.processes import wait_for
from simulators.chaos.toy_model import BAD_GREY, GOOD_GREY, toy_picture
from simulators.handshake import Exchange, percentile
from simulators.plc import Plc, PlcSettings

BAD_RATIO = 0.2
STOP_TIMEOUT_S = 30.0
VERDICTS_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Promises:
    """What the PLC saw; everything that breaks invariant I3 is counted."""

    parts: int
    verdicts: int
    missed_connected: int
    contradictions: int
    late_ok: int
    false_ok: int
    """A dark part that was passed: unseen, or another part's verdict."""
    p50_ms: float
    p99_ms: float

    @property
    def broken(self) -> int:
        """Breaches of I3."""
        return self.contradictions + self.late_ok + self.false_ok


class ToyLine:
    """Sends parts from a thread until told to stop.

    Args:
        cell: whose PLC.
        broker: the cell's broker.
        spool: folder of the cell's camera.
        period_s: between two triggers.
        seed: which parts are dark.
    """

    def __init__(
        self,
        cell: CellAddress,
        broker: BrokerAddress,
        spool: Path,
        *,
        period_s: float = 0.1,
        seed: int = 0,
        deadline_ms: int = 1000,
        bad_ratio: float = BAD_RATIO,
    ) -> None:
        # A killed agent is away for seconds: the part waits no longer than its deadline.
        patience_s = deadline_ms / 1000 + 0.5
        settings = PlcSettings("grey", deadline_ms=deadline_ms, patience_s=patience_s)
        self.plc = Plc(cell, broker, settings, seed=seed)
        self.camera = SpoolCamera(spool)
        self.bad_ratio = bad_ratio
        self._period_s = period_s
        self._dice = random.Random(seed)  # noqa: S311 - which parts are dark
        self._is_bad: dict[str, bool] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="toy-line", daemon=True)

    def start(self) -> None:
        """Connect and begin."""
        self.plc.start()
        self._thread.start()

    def stop(self) -> None:
        """End after the running part."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_TIMEOUT_S)
        self.plc.stop()

    @property
    def num_parts(self) -> int:
        """Sent so far."""
        return len(self._is_bad)

    @property
    def num_verdicts(self) -> int:
        """Answered so far."""
        return sum(exchange.result is not None for exchange in self.plc.exchanges())

    def wait_verdicts(self, count: int, timeout_s: float = VERDICTS_TIMEOUT_S) -> None:
        """Wait for so many more.

        Raises:
            SimulatorError: they do not come.
        """
        wanted = self.num_verdicts + count
        wait_for(lambda: self.num_verdicts >= wanted, timeout_s, f"{count} more verdicts")

    def one_part(self) -> Exchange:
        """Send one part and wait for its end."""
        part_id = f"p{len(self._is_bad):06d}"
        is_bad = self._dice.random() < self.bad_ratio
        self._is_bad[part_id] = is_bad
        grey = BAD_GREY if is_bad else GOOD_GREY
        self.camera.expose(part_id, toy_picture(grey, len(self._is_bad)))
        return self.plc.inspect(part_id, stop=self._stop)

    def promises(self, *, since: int = 0) -> Promises:
        """Check every exchange from the ``since``-th on."""
        exchanges = self.plc.exchanges()[since:]
        seen = self.plc.statistics()
        answered = [exchange for exchange in exchanges if exchange.result is not None]
        latencies = [e.latency_ms for e in answered if e.latency_ms is not None]
        return Promises(
            parts=len(exchanges),
            verdicts=len(answered),
            missed_connected=sum(e.is_missed and e.connected for e in exchanges),
            contradictions=seen.contradictions,
            late_ok=seen.late_ok,
            false_ok=sum(
                e.result is not None
                and e.result.verdict is Verdict.OK
                and self._is_bad[e.trigger.part_id]
                for e in answered
            ),
            p50_ms=percentile(latencies, 0.5),
            p99_ms=percentile(latencies, 0.99),
        )

    def verdict_of(self, part_id: str) -> Verdict | None:
        """What was said about a part, the last time."""
        for exchange in reversed(self.plc.exchanges()):
            if exchange.trigger.part_id == part_id and exchange.result is not None:
                return exchange.result.verdict
        return None

    def answered_parts(self) -> list[str]:
        """Parts that got a verdict, in the order of their triggers."""
        return [e.trigger.part_id for e in self.plc.exchanges() if e.result is not None]

    def _run(self) -> None:
        next_at = time.monotonic()
        while not self._stop.is_set():
            if not self.plc.wait_station_ready(0.2):
                continue
            self.one_part()
            next_at = max(next_at + self._period_s, time.monotonic())
            self._stop.wait(next_at - time.monotonic())

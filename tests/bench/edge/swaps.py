"""Model changes on a running line: missed triggers, and what the cycle notices of them."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.contract.messages import ModelPhase, Reported
from models.contract.topics import Channel
from simulators.broker_link import BrokerAddress, BrokerLink
from simulators.handshake import Exchange

from .downloads import Downloads, desire
from .figures import Effort, percentile, say, spread
from .plant import CELL, Plant, num_missed
from .quiet import Watch

NUM_SHADOW, NUM_CANARY = 20, 10
PAUSE_S = 4.0
SWAP_S = 90.0
BUSY = frozenset({ModelPhase.COMPILING, ModelPhase.CHECKING, ModelPhase.SHADOW})
MARGIN_NS = 300_000_000
"""A report takes a moment, and what was begun before it ends after it."""


@dataclass
class Reports:
    """What the cell says about its model, and when it said so."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    seen: list[tuple[int, Reported]] = field(default_factory=list)

    def add(self, _topic: str, payload: bytes) -> None:
        with self.changed:
            self.seen.append((time.monotonic_ns(), Reported.from_bytes(payload)))
            self.changed.notify_all()

    def wait_active(self, release: int) -> bool:
        def runs() -> bool:
            last = self.seen[-1][1] if self.seen else None
            return bool(
                last and last.phase is ModelPhase.ACTIVE and last.model
                and last.model.release == release
            )  # fmt: skip

        with self.changed:
            return self.changed.wait_for(runs, SWAP_S)

    def busy_windows(self) -> list[tuple[int, int]]:
        """From the first report of compiling to the first one after the shadow."""
        windows, began = [], None
        for at_ns, report in self.seen:
            if report.phase in BUSY and began is None:
                began = at_ns
            elif report.phase not in BUSY and began is not None:
                windows.append((began, at_ns))
                began = None
        return windows


def measure(work: Path, effort: Effort) -> dict[str, Any]:
    """Swap on and on while parts come at 10 Hz."""
    num_swaps = effort.rounds(2, 20)
    reports, exchanges, stopping = Reports(), list[Exchange](), threading.Event()
    with Downloads(work / "swaps-cloud", bytes_per_s=None) as downloads:
        releases = [downloads.publish() for _ in range(num_swaps)]
        plant = Plant(work / "swaps", settings=downloads.settings)
        with plant.running():
            link = BrokerLink(
                BrokerAddress("127.0.0.1", plant.uplink_broker.port),
                "release-desk",
                subscriptions=[CELL.topic(Channel.REPORTED)],
                on_message=reports.add,
            )
            link.start()
            plant.inspect_for(4.0)

            def run_line() -> None:
                exchanges.extend(plant.inspect_while(lambda: not stopping.is_set()))

            line, watch = threading.Thread(target=run_line), Watch()
            line.start()
            time.sleep(PAUSE_S)
            for ref in releases:
                desire(link, ref, shadow_parts=NUM_SHADOW, canary_parts=NUM_CANARY)
                if not reports.wait_active(ref.release):
                    stopping.set()
                    raise SystemExit(
                        f"release {ref.release} did not become active; see {plant.folder}"
                    )
                say(f"swap {ref.release}/{num_swaps} at part {len(exchanges)}")
                time.sleep(PAUSE_S)
            foreign = watch.foreign_cores()
            stopping.set()
            line.join(10)
            link.stop()
    return _told(reports, exchanges, num_swaps, foreign)


def _told(
    reports: Reports, exchanges: Sequence[Exchange], num_swaps: int, foreign: float
) -> dict[str, Any]:
    windows = reports.busy_windows()

    def is_busy(exchange: Exchange) -> bool:
        sent = exchange.sent_ns
        return any(begin - MARGIN_NS <= sent <= end + MARGIN_NS for begin, end in windows)

    busy = [e.result.processing_ms for e in exchanges if e.result and is_busy(e)]
    usual = [e.result.processing_ms for e in exchanges if e.result and not is_busy(e)]
    return {
        "top": {
            "swap_missed_triggers": num_missed(exchanges),
            "swap_cycle_p99_ratio": round(percentile(busy, 99) / percentile(usual, 99), 3),
        },
        "rounds": num_swaps,
        "swaps": num_swaps,
        "triggers": len(exchanges),
        "processing_ms_usual": spread(usual),
        "processing_ms_during_compile_and_shadow": spread(busy),
        "seconds_compile_and_shadow": [round((e - b) / 1e9, 1) for b, e in windows],
        "cores_used_by_others": foreign,
    }


SECTIONS: dict[str, Callable[..., dict[str, Any]]] = {"swap": measure}

"""Whether the machine did anything else meanwhile: a round that others disturbed says nothing."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import psutil

from .figures import say

MAX_FOREIGN_CORES = 0.15
"""Of all cores together; the kernel and a monitoring agent take about 0.05."""
MAX_TRIES = 4
PAUSE_S = 5.0
T = TypeVar("T")


class Watch:
    """Processor time that other programs took since this was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._busy_s, self._own_s = _busy_s(), _own_s()

    def foreign_cores(self) -> float:
        """Cores that others kept busy, on average."""
        elapsed_s = time.monotonic() - self._began
        foreign_s = (_busy_s() - self._busy_s) - (_own_s() - self._own_s)
        return round(max(foreign_s, 0.0) / elapsed_s, 3)


def undisturbed(measure: Callable[[], T]) -> tuple[T, float]:
    """Measure, again while others disturb it; the quietest try counts.

    Returns:
        What was measured, and how many cores others used meanwhile.
    """
    tries: list[tuple[float, T]] = []
    while len(tries) < MAX_TRIES:
        watch = Watch()
        found = measure()
        tries.append((watch.foreign_cores(), found))
        # What goes before everything else is not disturbed by it, or no more than once more.
        if tries[-1][0] <= MAX_FOREIGN_CORES or os.sched_getscheduler(0) == os.SCHED_RR:
            break
        say(f"disturbed: others used {tries[-1][0]:.2f} cores")
        if len(tries) < MAX_TRIES:
            time.sleep(PAUSE_S)
    foreign, found = min(tries, key=lambda entry: entry[0])
    return found, foreign


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


def _own_s() -> float:
    me = psutil.Process(os.getpid())
    total = 0.0
    for process in (me, *me.children(recursive=True)):
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total

"""Render the next parts in a process of their own, while the PLC measures this one.

Rendering in the PLC's process would hold its interpreter for milliseconds at a time and be
counted as the station's latency.
"""

import os
import signal
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import cv2

from simulators.errors import SimulatorError
from simulators.sources import PartSource, SimulatedPart

NICE = 5


class RenderingProcess:
    """One process that prepares parts for several cells."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(
            1, mp_context=get_context("spawn"), initializer=_stay_in_the_background
        )

    def submit(self, source: PartSource, index: int) -> Future[SimulatedPart]:
        """Begin to prepare a part."""
        return self._pool.submit(source.part, index)

    def close(self) -> None:
        """End the process; parts under way are dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class PrefetchedSource:
    """A source whose next part is being prepared already; used by one thread.

    Args:
        source: Where the parts come from; it travels to the other process.
        process: Prepares them.
    """

    def __init__(self, source: PartSource, process: RenderingProcess) -> None:
        self._source = source
        self._process = process
        self._next: tuple[int, Future[SimulatedPart]] | None = None

    def part(self, index: int) -> SimulatedPart:
        """The part with this index.

        Raises:
            SimulatorError: the process that prepares parts is gone.
        """
        try:
            if self._next is not None and self._next[0] == index:
                future = self._next[1]
            else:
                future = self._process.submit(self._source, index)
            self._next = (index + 1, self._process.submit(self._source, index + 1))
            return future.result()
        except (BrokenProcessPool, RuntimeError) as error:
            raise SimulatorError("the process that renders parts is gone: start again") from error


def _stay_in_the_background() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    cv2.setNumThreads(1)
    os.nice(NICE)

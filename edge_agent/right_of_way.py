"""The part in front of the camera goes first; what comes after its verdict waits meanwhile.

Python lets one thread compute at a time, and a disk syncs one file at a time. Whatever the
recorder, the uplink or an update do while a part is judged is added to its verdict, however low
their priority. So they ask here before each piece of work and say how long it takes; a piece that
would not end before the next part is due, as the line's pace foretells it, waits for its verdict.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from edge_agent.pace import Pace

MAX_WAIT_S = 1.0
MAX_PAUSE_S = 0.05
"""Nobody waits longer: a camera that hangs must not hold up the records of other parts."""
SHORT_S = 0.003
"""A piece of work of which nobody said how long it takes."""
MAX_STANDSTILL_S = 60.0
"""A process is stopped for so long in all: even beside a line without a pause it ends one day."""


class Bystander(Protocol):
    """A process of our own, such as `subprocess.Popen`."""

    def send_signal(self, sig: int) -> None:
        """Harmless once it has ended."""
        ...


class RightOfWay:
    """Taken by the inspection thread from trigger to verdict; any thread may give way.

    Args:
        monotonic_s: the clock that the line's pace is read from.
    """

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._is_free = threading.Event()
        self._is_free.set()
        self._changed = threading.Condition()
        self._num_verdicts = 0
        self._works_on = threading.local()
        self._pace = Pace()
        self._bystanders: dict[Bystander, float] = {}
        """With the seconds for which each has been stopped."""
        self._taken_s = 0.0

    def take(self) -> None:
        """A part is judged from now on."""
        self._is_free.clear()
        self._taken_s = self._monotonic_s()
        self._pace.add(self._taken_s)
        if self._bystanders:
            self._stop_bystanders()

    def release(self) -> None:
        """Its verdict is out."""
        self._is_free.set()
        with self._changed:
            self._num_verdicts += 1
            self._changed.notify_all()
        if self._bystanders:
            self._let_bystanders_go()

    def after_verdict(self, timeout_s: float = MAX_WAIT_S) -> None:
        """Wait until a verdict has just gone out: for work that holds the interpreter for long.

        On a line at rest there is no verdict to wait for: after ``timeout_s`` it may begin, too.
        """
        with self._changed:
            seen = self._num_verdicts
            self._changed.wait_for(lambda: self._num_verdicts != seen, timeout_s)

    def give_way(self, needed_s: float = SHORT_S) -> None:
        """Wait while a part is judged or due; call it before each short piece of background work.

        Who has waited in vain for the whole pause works on for as long: on a machine so busy that
        a part is always being judged, records would else leave at twenty a second.

        Args:
            needed_s: what the piece of work takes.
        """
        now_s, own = self._monotonic_s(), self._works_on
        if now_s < getattr(own, "until_s", 0.0):
            return
        if self._is_free.is_set():
            wait_s = self._pace.wait_s(now_s, needed_s)
            if wait_s <= 0 or now_s < getattr(own, "bold_until_s", 0.0):
                return
            self.after_verdict(min(wait_s, MAX_PAUSE_S))
            # Where no gap is long enough it goes on all the same, by turns.
            after_s = self._monotonic_s()
            own.bold_until_s = after_s + (after_s - now_s)
            if self._is_free.is_set():
                return
        if not self._is_free.wait(MAX_PAUSE_S):
            own.until_s = self._monotonic_s() + MAX_PAUSE_S

    @contextmanager
    def beside(self, process: Bystander) -> Iterator[None]:
        """While the block runs this process stands still whenever a part is judged.

        A low priority alone lets it keep a core, the caches and the memory from the model.
        """
        with self._changed:
            self._bystanders[process] = 0.0
        try:
            yield
        finally:
            with self._changed:
                del self._bystanders[process]
                process.send_signal(signal.SIGCONT)

    def _stop_bystanders(self) -> None:
        with self._changed:
            for process, stopped_s in self._bystanders.items():
                if stopped_s < MAX_STANDSTILL_S:
                    process.send_signal(signal.SIGSTOP)

    def _let_bystanders_go(self) -> None:
        with self._changed:
            for process in self._bystanders:
                process.send_signal(signal.SIGCONT)
                self._bystanders[process] += self._monotonic_s() - self._taken_s

"""The part in front of the camera goes first; what comes after its verdict waits meanwhile.

Python lets one thread compute at a time. Whatever the recorder, the uplink or an update compute
while a part is judged is added to its verdict, however low their priority. So they ask here before
each piece of work, and a piece is short: a record, a row, one look of a second model.
"""

import threading
import time

MAX_WAIT_S = 1.0
MAX_PAUSE_S = 0.05
"""Nobody waits longer: a camera that hangs must not hold up the records of other parts."""


class RightOfWay:
    """Taken by the inspection thread from trigger to verdict; any thread may give way."""

    def __init__(self) -> None:
        self._is_free = threading.Event()
        self._is_free.set()
        self._changed = threading.Condition()
        self._num_verdicts = 0
        self._works_on = threading.local()

    def take(self) -> None:
        """A part is judged from now on."""
        self._is_free.clear()

    def release(self) -> None:
        """Its verdict is out."""
        self._is_free.set()
        with self._changed:
            self._num_verdicts += 1
            self._changed.notify_all()

    def after_verdict(self, timeout_s: float = MAX_WAIT_S) -> None:
        """Wait until a verdict has just gone out: for work that holds the interpreter for long.

        On a line at rest there is no verdict to wait for: after ``timeout_s`` it may begin, too.
        """
        with self._changed:
            seen = self._num_verdicts
            self._changed.wait_for(lambda: self._num_verdicts != seen, timeout_s)

    def give_way(self) -> None:
        """Wait while a part is judged; call it before each short piece of background work.

        Who has waited in vain for the whole pause works on for as long: on a machine so busy that
        a part is always being judged, records would else leave at twenty a second.
        """
        if self._is_free.is_set() or time.monotonic() < getattr(self._works_on, "until_s", 0.0):
            return
        if not self._is_free.wait(MAX_PAUSE_S):
            self._works_on.until_s = time.monotonic() + MAX_PAUSE_S

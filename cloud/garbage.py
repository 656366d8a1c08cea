"""When Python looks for reference cycles in a process that makes many short-lived objects."""

import gc
import threading

PERIOD_S = 5.0


def set_aside() -> None:
    """Leave what is there now out of every later look: a server's modules stay as long as it does.

    They are 230,000 objects; each look through them held up all answers for 130 ms and more.
    """
    gc.collect()
    gc.freeze()


class RareCollection:
    """Looks for cycles every few seconds instead of every few hundred objects.

    A record is some thirty objects, which all go by themselves once it is written: looking through
    them again and again cost 68 of 92 us a record. What was there at the start is not looked at.
    """

    def __init__(self, *, period_s: float = PERIOD_S) -> None:
        self._period_s = period_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="garbage", daemon=True)

    def start(self) -> None:
        """Take over from the interpreter."""
        set_aside()
        gc.disable()
        self._thread.start()

    def stop(self) -> None:
        """Leave it to the interpreter again."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(self._period_s)
        gc.unfreeze()
        gc.enable()

    def _run(self) -> None:
        while not self._stopping.wait(self._period_s):
            gc.collect()

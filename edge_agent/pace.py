"""When the next part is due, as far as the line's own pace tells. No I/O."""

from collections import deque

NUM_INTERVALS = 4
EVEN_SHARE = 0.25
"""Intervals that differ by more than this share are no pace."""
MAX_INTERVAL_S = 10.0
LEEWAY_S = 0.005
"""A part is still waited for this long after its time, beside what the pace itself varies by."""


class Pace:
    """Learns from the times at which parts came; not thread-safe.

    A conveyor and a robot's cycle are even to some milliseconds. Where they are not, nothing is
    foretold and nobody waits for a part that may not come.
    """

    def __init__(self) -> None:
        self._last_s: float | None = None
        self._intervals: deque[float] = deque(maxlen=NUM_INTERVALS)
        self._window_s: tuple[float, float] | None = None

    def add(self, at_s: float) -> None:
        """A part came."""
        if self._last_s is not None:
            self._intervals.append(at_s - self._last_s)
        self._last_s = at_s
        self._window_s = self._next_window(at_s)

    def wait_s(self, now_s: float, needed_s: float) -> float:
        """How long to leave alone what takes ``needed_s``; 0: it ends before the next part comes.

        The wait ends at the latest when a part that was due has not come.
        """
        window = self._window_s
        if window is None:
            return 0.0
        due_s, over_s = window
        return over_s - now_s if due_s - needed_s <= now_s < over_s else 0.0

    def _next_window(self, at_s: float) -> tuple[float, float] | None:
        if len(self._intervals) < NUM_INTERVALS:
            return None
        shortest, longest = min(self._intervals), max(self._intervals)
        if longest > MAX_INTERVAL_S or longest - shortest > EVEN_SHARE * longest:
            return None
        return at_s + shortest, at_s + longest + LEEWAY_S

"""Whether a doubt is among the strongest of late.

A fixed limit fits one model: after the next training its scores lie elsewhere, and every picture
is doubtful, or none. What is asked for instead is a share: the strongest few in a hundred of the
last pictures, whatever the numbers mean.
"""

from bisect import bisect_left, insort
from collections import deque

WINDOW = 500
"""Pictures that a doubt is compared with: an hour of a slow line, a minute of a fast one."""
MIN_SEEN = 50
"""Fewer say nothing about one in fifty: until then every doubt counts."""


class Rarity:
    """Strengths of one doubt on the last pictures; not thread-safe."""

    def __init__(self) -> None:
        self._seen: deque[float] = deque(maxlen=WINDOW)
        self._sorted: list[float] = []

    def take_in(self, strength: float, *, share: float) -> bool:
        """Whether this strength is among the strongest ``share`` so far; then remember it.

        A strength that many have had (nothing at all found) is not rare however large the share.
        """
        num_as_strong = len(self._sorted) - bisect_left(self._sorted, strength)
        is_rare = len(self._seen) < MIN_SEEN or num_as_strong < share * len(self._seen)
        if len(self._seen) == WINDOW:
            del self._sorted[bisect_left(self._sorted, self._seen[0])]
        self._seen.append(strength)
        insort(self._sorted, strength)
        return is_rare

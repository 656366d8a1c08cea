"""The last cycles with their pictures, for when somebody contradicts a verdict."""

from collections import deque

from edge_agent.ports import CycleOutcome


class FrameRing:
    """Forgets the oldest cycle when there are too many or their pictures are too large.

    Not thread-safe: the recorder's thread owns it.

    Args:
        num_cycles: remembered at most.
        max_bytes: of pictures in memory (a 5 MP colour picture has 15 MB).
    """

    def __init__(self, num_cycles: int = 50, max_bytes: int = 256 * 2**20) -> None:
        self._max_bytes = max_bytes
        self._num_cycles = num_cycles
        self._cycles: deque[CycleOutcome] = deque()
        self._num_bytes = 0

    def add(self, cycle: CycleOutcome) -> None:
        """Remember a cycle, forgetting the oldest."""
        self._cycles.append(cycle)
        self._num_bytes += _picture_bytes(cycle)
        while len(self._cycles) > self._num_cycles or self._num_bytes > self._max_bytes:
            self._num_bytes -= _picture_bytes(self._cycles.popleft())

    def find(self, part_id: str) -> tuple[CycleOutcome, ...]:
        """What is remembered of a part, newest first."""
        return tuple(cycle for cycle in reversed(self._cycles) if cycle.part_id == part_id)


def _picture_bytes(cycle: CycleOutcome) -> int:
    return cycle.frame.image.nbytes if cycle.frame else 0

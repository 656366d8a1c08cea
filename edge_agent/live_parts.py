"""What the line judged lately, for an updater that looks on from another thread."""

import threading
from collections import deque

from edge_agent.ports import CycleOutcome
from edge_agent.update_rules import PartFacts

NUM_REMEMBERED_PARTS = 200
NUM_WAITING_PICTURES = 4
"""Pictures that may wait for a second look; the oldest goes, the line is never held up."""


class LiveParts:
    """Figures of the last parts, and the last few pictures until somebody takes them.

    Args:
        changed: guards everything and is notified of each part.
    """

    def __init__(self, changed: threading.Condition) -> None:
        self.num_seen = 0
        """Parts so far; a place to go on reading from."""
        self._changed = changed
        self._facts: deque[PartFacts] = deque(maxlen=NUM_REMEMBERED_PARTS)
        self._pictures: deque[CycleOutcome] = deque(maxlen=NUM_WAITING_PICTURES)

    def add(self, cycle: CycleOutcome) -> None:
        """A finished cycle."""
        facts = facts_of(cycle)
        with self._changed:
            self._facts.append(facts)
            self.num_seen += 1
            if cycle.frame is not None and cycle.detections is not None:
                self._pictures.append(cycle)
            self._changed.notify_all()

    def take_picture(self) -> CycleOutcome | None:
        """The oldest picture that waits; None when there is none."""
        with self._changed:
            return self._pictures.popleft() if self._pictures else None

    @property
    def has_picture(self) -> bool:
        """Whether one waits."""
        return bool(self._pictures)

    def forget_pictures(self) -> None:
        """Nobody wants a second look now: free their memory."""
        self._pictures.clear()

    def after(self, num_seen: int) -> tuple[int, list[PartFacts]]:
        """Parts after the first ``num_seen``, oldest first, as far as they are remembered.

        Returns:
            How many there were by now, and the parts.
        """
        with self._changed:
            num_fresh = min(self.num_seen - num_seen, len(self._facts))
            return self.num_seen, list(self._facts)[len(self._facts) - num_fresh :]


def facts_of(cycle: CycleOutcome) -> PartFacts:
    """What the windows need to know of a cycle."""
    return PartFacts(cycle.model, cycle.verdict, cycle.reasons, cycle.timings.inference_ms)

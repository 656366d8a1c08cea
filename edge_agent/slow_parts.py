"""Which parts took far longer than is usual here, and where the time went. No I/O."""

from edge_agent.ports import CycleTimings

FACTOR = 1.5
"""Of the usual time, from which on a part is told about."""
MIN_MS = 3.0
"""Less beyond the usual is not worth a line."""
NUM_TO_LEARN = 50
"""Parts that say what is usual, and the memory of it from then on."""


class SlowParts:
    """Knows the usual time of the last parts; not thread-safe."""

    def __init__(self) -> None:
        self._usual_ms = 0.0
        self._num_seen = 0

    def take_in(
        self, processing_ms: float, timings: CycleTimings, *, disk_ms: float
    ) -> dict[str, float] | None:
        """Look at a part.

        Args:
            processing_ms: from the trigger's arrival to the verdict.
            timings: of camera, model and rules.
            disk_ms: that the verdict waited for its intent to be on the disk.

        Returns:
            Milliseconds by stage when the part was slow; ``rest`` is waiting for the interpreter or
            a core.
        """
        is_slow = (
            self._num_seen >= NUM_TO_LEARN
            and processing_ms > self._usual_ms * FACTOR
            and processing_ms > self._usual_ms + MIN_MS
        )
        self._num_seen += 1
        weight = 1 / min(self._num_seen, NUM_TO_LEARN)
        # A slow part counts as one at the limit: a few of them do not make the next ones usual.
        counted_ms = min(processing_ms, self._usual_ms * FACTOR) if is_slow else processing_ms
        self._usual_ms += weight * (counted_ms - self._usual_ms)
        if not is_slow:
            return None
        known = {
            "grab": timings.grab_ms,
            "inference": timings.inference_ms,
            "judgement": timings.judgement_ms,
            "disk": disk_ms,
        }
        facts = {"took": processing_ms, "usual": self._usual_ms, **known}
        return {name: round(value, 2) for name, value in facts.items()} | {
            "rest": round(processing_ms - sum(known.values()), 2)
        }

"""A quota that refills with time."""

from collections.abc import Callable

NS_PER_S = 1_000_000_000


class TokenBucket:
    """Lets ``rate_per_s`` through on average and up to ``burst`` at once; starts full.

    Args:
        rate_per_s: tokens that come back each second.
        burst: tokens that it holds at most.
        monotonic_ns: the clock.
    """

    def __init__(self, rate_per_s: float, burst: float, monotonic_ns: Callable[[], int]) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._monotonic_ns = monotonic_ns
        self._tokens = burst
        self._at_ns = monotonic_ns()

    def take(self, amount: float = 1.0) -> bool:
        """Take tokens if they are there.

        More than the bucket holds is let through once it is full, and paid for afterwards; else
        a single large picture would block for ever.
        """
        self._refill()
        if self._burst <= 0 or self._tokens < min(amount, self._burst):
            return False
        self._tokens -= amount
        return True

    def _refill(self) -> None:
        now_ns = self._monotonic_ns()
        elapsed_s = (now_ns - self._at_ns) / NS_PER_S
        self._tokens = min(self._burst, self._tokens + elapsed_s * self._rate_per_s)
        self._at_ns = now_ns

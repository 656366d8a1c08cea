"""How often somebody may try: sign-ins a minute, requests a second."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from cloud.errors import BusyError

MAX_KEYS = 10_000
"""Callers that are remembered: many addresses must not fill the memory."""


class AttemptLimit:
    """At most so many attempts a minute for each key, for instance an address."""

    def __init__(self, per_minute: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self._monotonic = monotonic
        self._attempts: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def check(self, key: str, *, factor: int = 1) -> None:
        """Count an attempt.

        Args:
            key: Who tries.
            factor: How many times the limit this key may have.

        Raises:
            BusyError: there were too many within the last minute.
        """
        now = self._monotonic()
        with self._lock:
            if len(self._attempts) > MAX_KEYS:
                self._attempts.clear()
            attempts = self._attempts.setdefault(key, deque())
            while attempts and attempts[0] <= now - 60.0:
                attempts.popleft()
            if len(attempts) >= self.per_minute * factor:
                raise BusyError("too many attempts to sign in: wait a minute")
            attempts.append(now)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class RequestLimit:
    """A bucket of requests for each caller that fills up again at a steady rate.

    Args:
        per_s: Requests a second that a caller may send for ever.
        burst: Requests that it may send at once.
    """

    def __init__(
        self, per_s: float, burst: int, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = per_s
        self._burst = float(burst)
        self._monotonic = monotonic
        self._buckets: dict[str, _Bucket] = {}

    def wait_s(self, key: str) -> float:
        """Count a request; gives the seconds to wait before it is allowed, 0 when it is now."""
        now = self._monotonic()
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) > MAX_KEYS:
                self._buckets.clear()
            bucket = self._buckets[key] = _Bucket(self._burst, now)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._per_s)
        bucket.at = now
        if bucket.tokens < 1.0:
            return (1.0 - bucket.tokens) / self._per_s
        bucket.tokens -= 1.0
        return 0.0

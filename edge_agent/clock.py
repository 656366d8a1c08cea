"""The machine's own time."""

import time
from datetime import UTC, datetime

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


class SystemClock:
    """The `edge_agent.ports.Clock` of a running agent."""

    def monotonic_ns(self) -> int:
        """For durations and deadlines: never steps."""
        return time.monotonic_ns()

    def now(self) -> datetime:
        """For records: aware, UTC."""
        return datetime.now(UTC)

"""One query for all browsers: a value that is fetched again only while somebody looks."""

import logging
import time
from asyncio import Lock, to_thread
from collections.abc import Callable
from typing import Generic, TypeVar

from nicegui import ui

from cloud.errors import CloudError

log = logging.getLogger(__name__)

T = TypeVar("T")


class Feed(Generic[T]):
    """The newest value of a blocking query, shared by every page that follows it.

    However many browsers look, the query runs at most once a period, in a worker thread, and never
    twice at the same time. When nobody looks, it does not run at all.
    """

    def __init__(self, fetch: Callable[[], T], *, period_s: float) -> None:
        self._fetch = fetch
        self.period_s = period_s
        self.value: T | None = None
        self.problem = ""
        """Why the value is old; empty when it is not."""
        self.revision = 0
        self._fetching = Lock()
        self._is_expired = False
        self._due_at = 0.0

    async def refresh(self) -> None:
        """Fetch again if the period is over; where somebody else is at it, wait for theirs."""
        async with self._fetching:
            if time.monotonic() < self._due_at:
                return
            self._is_expired = False
            try:
                self.value = await to_thread(self._fetch)
                self.problem = ""
            except CloudError as error:
                if not self.problem:
                    log.warning("dashboard cannot read", extra={"cause": str(error)})
                self.problem = str(error)
            except Exception:  # the job's boundary: pages keep what they show and say it is old
                if not self.problem:
                    log.exception("dashboard failed to read")
                self.problem = "the server cannot read its data: its log has the cause"
            finally:
                # The end counts, not the start: a slow database is not asked without a pause.
                # What was changed during the fetch may be missing in it.
                self._due_at = 0.0 if self._is_expired else time.monotonic() + self.period_s
                self.revision += 1

    def expire(self) -> None:
        """Fetch at the next look, for instance after something was changed on the page."""
        self._is_expired = True
        self._due_at = 0.0

    def follow(self, show: Callable[[T], None]) -> None:
        """Call ``show`` on this page with each new value until the page is left.

        Where somebody else looks already, the first call comes at once.
        """
        seen = -1

        def take() -> None:
            nonlocal seen
            if self.revision != seen and self.value is not None:
                seen = self.revision
                show(self.value)

        async def look() -> None:
            await self.refresh()
            take()

        take()
        # Looking is cheap, fetching is not: half a period of delay at most.
        ui.timer(self.period_s / 2, look)

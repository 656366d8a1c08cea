"""Pictures over HTTP that wait for a pause between the PLC's parts."""

import threading
from collections import deque
from concurrent.futures import Future

from edge_agent.errors import OverloadError
from edge_agent.mailbox import PictureJob
from edge_agent.ports import CycleOutcome, PictureRequest


class PictureQueue:
    """Bounded, first in first out; when full, the newcomer is sent away with HTTP 429."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._jobs: deque[PictureJob] = deque()

    def put(self, request: PictureRequest, *, arrived_ns: int) -> Future[CycleOutcome]:
        """Queue a picture.

        Raises:
            OverloadError: too many wait.
        """
        done: Future[CycleOutcome] = Future()
        with self._lock:
            if len(self._jobs) >= self._size:
                raise OverloadError("pictures over HTTP")
            self._jobs.append(PictureJob(request, arrived_ns, done))
        return done

    def take(self) -> PictureJob | None:
        """The oldest picture whose sender still waits."""
        with self._lock:
            while self._jobs:
                job = self._jobs.popleft()
                if job.done.set_running_or_notify_cancel():
                    return job
        return None

    def refuse_all(self, error: Exception) -> None:
        """Send everybody away."""
        while (job := self.take()) is not None:
            job.done.set_exception(error)

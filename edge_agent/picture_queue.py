"""Pictures over HTTP that wait to be judged."""

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass

from edge_agent.errors import OverloadError
from edge_agent.inspection_ports import PictureRequest
from edge_agent.ports import CycleOutcome
from models.contract.recipe import Recipe, View


@dataclass(frozen=True, slots=True, eq=False)
class PictureJob:
    """A picture over HTTP, what it is judged by, and who waits for it."""

    request: PictureRequest
    recipe: Recipe
    view: View
    arrived_ns: int
    done: "Future[CycleOutcome]"


class PictureQueue:
    """Bounded, first in first out; when full, the newcomer is sent away with HTTP 429."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._changed = threading.Condition()
        self._jobs: deque[PictureJob] = deque()
        self._idle: set[int] = set()
        """Ranks of those who wait for a picture."""
        self.is_closed = False

    def put(
        self, request: PictureRequest, recipe: Recipe, view: View, *, arrived_ns: int
    ) -> "Future[CycleOutcome]":
        """Queue a picture.

        Raises:
            OverloadError: too many wait.
        """
        job = PictureJob(request, recipe, view, arrived_ns, Future())
        with self._changed:
            if len(self._jobs) >= self._size or self.is_closed:
                raise OverloadError("pictures over HTTP")
            self._jobs.append(job)
            self._changed.notify_all()
        return job.done

    def take(self, timeout_s: float | None = None, *, rank: int = 0) -> PictureJob | None:
        """The oldest picture whose sender still waits; None: none came, or the queue is closed.

        Args:
            timeout_s: wait for one; None: until one comes.
            rank: of who asks. A picture is for the lowest one that is idle: where pictures come
                one by one it is always the same, on its own core and with warm caches.
        """
        with self._changed:
            self._idle.add(rank)
            is_mine = self._changed.wait_for(
                lambda: self._is_for(rank) or self.is_closed, timeout_s
            )
            self._idle.discard(rank)
            while is_mine and self._jobs:
                job = self._jobs.popleft()
                if job.done.set_running_or_notify_cancel():
                    return job
        return None

    def _is_for(self, rank: int) -> bool:
        return sum(other < rank for other in self._idle) < len(self._jobs)

    def close(self, error: Exception) -> None:
        """Send everybody away who waits, and whoever takes home."""
        with self._changed:
            self.is_closed = True
            waiting, self._jobs = self._jobs, deque()
            self._changed.notify_all()
        for job in waiting:
            if job.done.set_running_or_notify_cancel():
                job.done.set_exception(error)

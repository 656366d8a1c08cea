"""What one thread has taken in and another will deal with: bounded, and taken in batches."""

import threading
import time
from collections.abc import Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Backlog(Generic[Item]):
    """Items on their way between two threads.

    Args:
        capacity: As many may wait; who brings more is held up.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: list[Item] = []
        self._enough = 1
        """As many are worth waking up the other thread for."""
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, items: Sequence[Item], *, timeout_s: float) -> bool:
        """Bring items; False: there was no room for any of them in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._items) < self._capacity, timeout_s):
                return False
            self._items.extend(items)
            if len(self._items) >= self._enough:
                self._changed.notify_all()
        return True

    def take(self, most: int, *, idle_s: float, lull_s: float, wait_s: float) -> list[Item]:
        """Take what is there, in the order that it came.

        Args:
            most: No more than that.
            idle_s: Longest wait for the first; nothing is given when none came.
            lull_s: When nothing followed for this long, a fuller batch is not worth the wait.
            wait_s: Longest wait for the batch to fill, from its first item.
        """
        with self._changed:
            self._enough = 1
            if not self._changed.wait_for(lambda: self._items, idle_s):
                return []
            self._enough, deadline = most, time.monotonic() + wait_s
            while len(self._items) < most:
                before, patience = len(self._items), min(lull_s, deadline - time.monotonic())
                if patience <= 0:
                    break
                self._changed.wait_for(lambda: len(self._items) >= most, patience)
                if len(self._items) == before:
                    break
            taken, self._items = self._items[:most], self._items[most:]
            self._changed.notify_all()
        return taken

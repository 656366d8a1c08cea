"""Answers by idempotency key, so that a repeated request is worked on once."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from models.contract.model import ContractError

NUM_REMEMBERED_KEYS = 1_000
Answer = TypeVar("Answer")


class KeyReusedError(ContractError):
    """The key came with another request before."""

    def __init__(self) -> None:
        super().__init__("Idempotency-Key was used for another request")


class AnswerBook(Generic[Answer]):
    """The newest answers by key; event loop only.

    Args:
        size: How many are remembered.
    """

    def __init__(self, size: int = NUM_REMEMBERED_KEYS) -> None:
        self._size = size
        self._tasks: OrderedDict[str, tuple[str, asyncio.Future[Answer]]] = OrderedDict()

    async def once(
        self, key: str, fingerprint: str, work: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """The answer to this key: the one that is there or on its way, else that of ``work``.

        A failure is not remembered: the caller is meant to try again.

        Raises:
            KeyReusedError: the key was used with another fingerprint.
        """
        known = self._tasks.get(key)
        if known is not None and known[0] != fingerprint:
            raise KeyReusedError
        if known is None or _has_failed(known[1]):
            task = asyncio.ensure_future(work())
            self._tasks[key] = known = (fingerprint, task)
            while len(self._tasks) > self._size:
                self._tasks.popitem(last=False)
        return await asyncio.shield(known[1])


def _has_failed(task: "asyncio.Future[Answer]") -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)

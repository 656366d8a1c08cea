"""Doing something for the person at the page: in a worker thread, with its outcome told."""

from asyncio import to_thread
from collections.abc import Callable

from nicegui import ui

from cloud.auth import Identity
from cloud.dashboard import wording
from cloud.errors import CloudError


class Desk:
    """One person's doings on one page."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    async def do(self, deed: Callable[[], object], done: str) -> bool:
        """Do it and say so; false: it was refused, and the person was told why."""
        try:
            await to_thread(deed)
        except CloudError as error:
            ui.notify(wording.sentence(str(error)), type="negative", timeout=8000)
            return False
        if done:
            ui.notify(done, type="positive")
        return True

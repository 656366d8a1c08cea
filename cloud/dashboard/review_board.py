"""The board of the Review page: a Vue component that keeps its own state."""

import time
from collections.abc import Callable
from typing import Any

from nicegui.element import Element

Json = dict[str, Any]


class ReviewBoard(Element, component="static/review_board.js"):
    """Queue, picture and boxes; it tells of each decision once and goes on without waiting."""

    def __init__(
        self,
        *,
        may_label: bool,
        on_decide: Callable[[Json], Any],
        on_take_back: Callable[[list[str]], Any],
        on_alike: Callable[[Json], Any],
        on_add: Callable[[], Any],
    ) -> None:
        super().__init__()
        self._props.update(
            queue=[], categories=[], pending=0, server_ms=_now_ms(), may_label=may_label
        )
        self.on("decide", lambda event: on_decide(event.args))
        self.on("back", lambda event: on_take_back(event.args))
        self.on("alike", lambda event: on_alike(event.args))
        self.on("add", on_add)

    def show(self, queue: list[Json], categories: list[Json], pending: int) -> None:
        """Tell what waits; nothing is sent when nothing changed."""
        new = {"queue": queue, "categories": categories, "pending": pending}
        if all(self._props[key] == value for key, value in new.items()):
            return
        self._props.update(new, server_ms=_now_ms())
        self.update()

    def refuse(self, sha256: str, text: str) -> None:
        """Bring a picture back whose decision was not saved."""
        self.run_method("refuse", sha256, text)

    def offer(self, offered: Json) -> None:
        """Offer pictures that look like one that was just labelled."""
        self.run_method("offer", offered)


def _now_ms() -> float:
    return time.time() * 1000.0

"""A sheet of pictures with boxes: samples of a snapshot, or two models side by side."""

from collections.abc import Callable, Sequence
from typing import Any

from nicegui.element import Element

Json = dict[str, Any]


class PictureSheet(Element, component="static/picture_sheet.js"):
    """Small pictures in a grid; a click enlarges one, the arrow keys go on to the next."""

    def __init__(self, *, on_more: Callable[[], Any]) -> None:
        super().__init__()
        self._props.update(pictures=[], has_more=False, total=0, loading=True)
        self.on("more", lambda _: on_more())

    def show(self, pictures: Sequence[Json], *, total: int) -> None:
        """Replace the pictures."""
        self._props.update(
            pictures=list(pictures), total=total, has_more=total > len(pictures), loading=False
        )
        self.update()

"""Parts of a page that are built again only when what they show has changed."""

from collections.abc import Callable

from nicegui import ui
from nicegui.element import Element


class Blocks:
    """Named containers of one page in one browser."""

    def __init__(self) -> None:
        self._elements: dict[str, Element] = {}
        self._shown: dict[str, object] = {}

    def place(self, name: str, element: Element | None = None) -> Element:
        """Put a block here; a plain container when no element is given."""
        self._elements[name] = element if element is not None else ui.element("div")
        self._elements[name].classes("sl-block")
        return self._elements[name]

    def show(self, name: str, content: object, build: Callable[[], None]) -> None:
        """Build a block, unless it shows this content already; None empties it."""
        if name in self._shown and self._shown[name] == content:
            return
        self._shown[name] = content
        element = self._elements[name]
        element.clear()
        if content is None:
            return
        with element:
            build()

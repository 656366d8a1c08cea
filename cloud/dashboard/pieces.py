"""Small pieces that pages are put together from."""

from collections.abc import Awaitable, Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager

from nicegui import ui
from nicegui.element import Element

Handler = Callable[[], Awaitable[None] | None]


def text(words: str, classes: str = "") -> ui.label:
    """Words, escaped."""
    return ui.label(words).classes(classes)


def panel(title: str = "", classes: str = "") -> Element:
    """A surface with a heading; use it as a context, its body is the context's content."""
    section = ui.element("section").classes(f"sl-panel {classes}")
    with section:
        if title:
            with ui.element("div").classes("sl-panel__head"), ui.element("h2"):
                ui.label(title)
        return ui.element("div").classes("sl-panel__body")


def chip(words: str, tone: str = "", *, sign: str = "") -> Element:
    """A state in a few words; the sign says the same as the colour."""
    element = ui.element("span").classes("sl-chip" + (f" sl-chip--{tone}" if tone else ""))
    with element:
        if sign:
            ui.element("i").classes(f"sl-sign sl-sign--{sign}")
        ui.label(words)
    return element


def verdict_text(verdict: str) -> None:
    """A verdict as sign and word."""
    with ui.element("span").classes(f"sl-verdict-text sl-verdict-text--{verdict}"):
        ui.element("i").classes(f"sl-sign sl-sign--{verdict}")
        ui.label(verdict.upper())


def button(
    words: str, on_click: Handler, *, kind: str = "", small: bool = False, enabled: bool = True
) -> Element:
    """A button; ``kind`` is empty, ``primary`` or ``danger``."""
    classes = "sl-button" + (f" sl-button--{kind}" if kind else "")
    element = ui.element("button").classes(classes + (" sl-button--small" if small else ""))
    element.props('type="button"')
    if enabled:
        element.on("click", lambda _: on_click())
    else:
        element.props("disabled")
    with element:
        ui.label(words)
    return element


@contextmanager
def table(heads: Sequence[str], *, right: Container[str] = ()) -> Iterator[None]:
    """A table; its rows are the context's content.

    Args:
        heads: Names of the columns.
        right: Columns of figures.
    """
    with ui.element("table").classes("sl-table sl-table--roomy"):
        with ui.element("thead"), ui.element("tr"):
            for head in heads:
                with ui.element("th").classes("sl-right" if head in right else ""):
                    ui.label(head)
        with ui.element("tbody"):
            yield


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """Names and values in two columns."""
    with ui.element("dl").classes("sl-facts"):
        for name, value in pairs:
            with ui.element("dt"):
                ui.label(name)
            with ui.element("dd"):
                ui.label(value)


def empty(title: str, words: str, *, code: str = "") -> None:
    """What stands where there is nothing yet: it says what to do."""
    with ui.element("div").classes("sl-empty"):
        with ui.element("h3"):
            ui.label(title)
        with ui.element("p"):
            ui.label(words)
        if code:
            with ui.element("code"):
                ui.label(code)


def skeleton(height_px: int) -> None:
    """Where something is about to be."""
    ui.element("div").classes("sl-skeleton").style(f"height: {height_px}px; width: 100%")


def confirm(title: str, words: str, action: str, on_yes: Handler, *, kind: str = "primary") -> None:
    """Ask before something that reaches the cells."""
    with small_dialog() as dialog:
        text(title, "sl-h2")
        text(words, "sl-muted")

        async def yes() -> None:
            dialog.close()
            done = on_yes()
            if done is not None:
                await done

        with ui.element("div").classes("sl-row"):
            button("Cancel", dialog.close)
            button(action, yes, kind=kind).classes("sl-push")


@contextmanager
def small_dialog(classes: str = "sl-dialog--small") -> Iterator[ui.dialog]:
    """A dialog over the page that is gone once it is closed; its content is the context's content.

    It belongs to the page, not to the block whose button opened it: a block that is built anew
    meanwhile would take it away.
    """
    classes = f"sl-panel sl-dialog {classes}"
    with ui.context.client.content, ui.dialog() as dialog, ui.element("div").classes(classes):
        yield dialog
    dialog.on("hide", dialog.delete)
    dialog.open()

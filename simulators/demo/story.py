"""How the demonstration tells what happens: lines, and on a terminal a line that changes."""

import time
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.status import Status

STATUS_PERIOD_S = 30.0
"""Without a terminal the figures are printed now and then instead."""


class Teller(Protocol):
    """Somebody who tells the story."""

    def say(self, text: str, *, style: str = "") -> None:
        """One thing that happened."""
        ...

    def figures(self, text: str) -> None:
        """How things stand; told often."""
        ...

    def close(self) -> None:
        """The story is over."""
        ...


class SilentTeller:
    """Keeps the story to itself, for tests."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str, *, style: str = "") -> None:
        """Remember a line."""
        del style
        self.lines.append(text)

    def figures(self, text: str) -> None:
        """Not even that."""

    def close(self) -> None:
        """Nothing to close."""


class ConsoleTeller:
    """Prints lines with the time since the start."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._begin = time.monotonic()
        self._told_at = self._begin
        self._status: Status | None = None
        if self._console.is_terminal:
            self._status = self._console.status("starting")
            self._status.start()

    def say(self, text: str, *, style: str = "") -> None:
        """Print a line."""
        clock = f"[dim]{self._elapsed()}[/dim]"
        body = escape(text)
        line = f"{clock} [{style}]{body}[/{style}]" if style else f"{clock} {body}"
        # A log has no width: one happening, one line.
        self._console.print(line, soft_wrap=not self._console.is_terminal)

    def figures(self, text: str) -> None:
        """Show the figures beside a spinner, or print them now and then."""
        if self._status is not None:
            self._status.update(escape(text))
        elif time.monotonic() - self._told_at >= STATUS_PERIOD_S:
            self._told_at = time.monotonic()
            self.say(text)

    def close(self) -> None:
        """Take the spinner away."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _elapsed(self) -> str:
        seconds = int(time.monotonic() - self._begin)
        return f"{seconds // 60:02d}:{seconds % 60:02d}"

"""What the command shows while it works: a bar for people, JSON lines for machines."""

import json
import os
from types import TracebackType
from typing import Any, Protocol, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from models.training.progress import Event

FACTS = (("loss", "loss {:.3f}"), ("map50", "mAP@0.5 {:.3f}"), ("rate", "{:.1f} images/s"))


class Reporter(Protocol):
    """Shows events of a long command; see `models.training.progress` for their fields."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def stage(self, name: str, text: str) -> None:
        """A new part of the work begins."""
        ...

    def progress(self, event: Event) -> None:
        """The present part of the work has come this far."""
        ...

    def note(self, text: str) -> None:
        """Something a person should know."""
        ...

    def done(self, text: str, **facts: object) -> None:
        """The command succeeded."""
        ...

    def error(self, message: str) -> None:
        """The command failed; one line."""
        ...


class JsonReporter:
    """One JSON object a line on standard output."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to tidy up."""

    def stage(self, name: str, text: str) -> None:
        """Write a progress event without figures."""
        self._write({"event": "progress", "stage": name, "text": text})

    def progress(self, event: Event) -> None:
        """Pass the event on."""
        self._write(event)

    def note(self, text: str) -> None:
        """Write a note."""
        self._write({"event": "note", "text": text})

    def done(self, text: str, **facts: object) -> None:
        """Write the last line."""
        self._write({"event": "done", "text": text} | facts)

    def error(self, message: str) -> None:
        """Write the last line of a failure."""
        self._write({"event": "error", "message": message})

    def _write(self, event: dict[str, Any]) -> None:
        typer.echo(json.dumps(event, default=str))


class TerminalReporter:
    """A progress bar on a terminal; a line for each stage elsewhere."""

    def __init__(self) -> None:
        # A stream of its own: the process's may be sent to a log while others are noisy.
        self._stream = os.fdopen(os.dup(2), "w")
        console = Console(file=self._stream)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[facts]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task: TaskID | None = None
        self._facts: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def stage(self, name: str, text: str) -> None:
        """Begin a new line of the bar."""
        if self._bar.disable:
            self.note(text)
            return
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._facts = {}
        self._task = self._bar.add_task(text, total=None, facts="", name=name)

    def progress(self, event: Event) -> None:
        """Move the bar and show the newest figures."""
        if event.get("resumed"):
            self.note(f"going on after step {event['step']}")
        for reason in event.get("reasons", ()):
            self.note(f"  {reason}")
        if self._task is None:
            return
        self._facts |= {name: event[name] for name, _ in FACTS if name in event}
        shown = [form.format(self._facts[name]) for name, form in FACTS if name in self._facts]
        if event.get("seconds_left") is not None:
            shown.append(f"{event['seconds_left'] / 60:.0f} min left")
        self._bar.update(
            self._task,
            completed=event.get("step", 0),
            total=event.get("steps"),
            facts="  ".join(shown),
        )

    def note(self, text: str) -> None:
        """Print above the bar."""
        self._bar.console.print(text, highlight=False, soft_wrap=True)

    def done(self, text: str, **facts: object) -> None:  # noqa: ARG002 - figures are for machines
        """Print the outcome on standard output."""
        self._bar.stop()
        typer.echo(text)

    def error(self, message: str) -> None:
        """Print the failure on the error stream."""
        self._bar.stop()
        typer.echo(f"error: {message}", file=self._stream)

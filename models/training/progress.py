"""Progress of a run: the chief appends it to a file, the driver reads it as it grows."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from models.training.fit_settings import PROGRESS_NAME

POLL_S = 0.3

Event = dict[str, Any]
Listener = Callable[[Event], None]


class ProgressWriter:
    """Appends events to the run's progress file."""

    def __init__(self, run_dir: Path, *, enabled: bool = True) -> None:
        self._path = run_dir / PROGRESS_NAME
        self._is_enabled = enabled
        self._last = 0.0

    def is_due(self, every_s: float) -> bool:
        """Whether ``every_s`` have passed since the last event."""
        return self._is_enabled and time.monotonic() - self._last >= every_s

    def write(self, **event: object) -> None:
        """Append one event; facts that are not known yet (None) are left out."""
        if not self._is_enabled:
            return
        known = {name: value for name, value in event.items() if value is not None}
        with self._path.open("a") as stream:
            stream.write(json.dumps({"event": "progress", "stage": "fit"} | known) + "\n")
        self._last = time.monotonic()


class ProgressTail:
    """Reads what was appended to a progress file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def new_events(self) -> Iterator[Event]:
        """Whole lines that were added; a half-written one waits for its end."""
        if not self._path.exists():
            return
        with self._path.open("rb") as stream:
            stream.seek(self._offset)
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield json.loads(line)


@contextlib.contextmanager
def follow(run_dir: Path, listener: Listener) -> Iterator[None]:
    """Hand every event that the ranks write during the block to ``listener``."""
    tail = ProgressTail(run_dir / PROGRESS_NAME)
    is_over = threading.Event()

    def work() -> None:
        while not is_over.wait(POLL_S):
            for event in tail.new_events():
                listener(event)

    thread = threading.Thread(target=work, name="progress-tail", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        for event in tail.new_events():
            listener(event)

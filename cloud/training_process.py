"""One ``sightline-train`` process: how it is started, followed and ended.

It writes to files, not to pipes, and leads a process group of its own. So it outlives a crash of
the server, which finds it again by its process id, and it can be ended with all it started.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cloud.errors import ConfigurationError
from cloud.json_values import parse_json
from cloud.settings import ENV_PREFIX, RetrainingSettings

EVENTS_NAME = "events.jsonl"
LOG_NAME = "train.log"
REPORT_NAME = "report.json"
BUNDLE_FOLDER = "bundle"
PROGRAM = "sightline-train"
GRACE_S = 8.0
"""Spark's JVM needs a few seconds to let go of its executors."""
POLL_S = 0.1
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}

Event = dict[str, Any]


def seconds_of(budget: str) -> float:
    """Length of a budget such as ``45m``."""
    return float(budget[:-1]) * _UNITS_S[budget[-1]]


def program(settings: RetrainingSettings) -> list[str]:
    """What to run before its arguments.

    Raises:
        ConfigurationError: it is not installed.
    """
    if settings.command:
        return list(settings.command)
    beside = Path(sys.executable).with_name(PROGRAM)
    found = str(beside) if beside.exists() else shutil.which(PROGRAM)
    if found is None:
        raise ConfigurationError(
            f"{PROGRAM} is not installed here: pip install 'sightline[train]',"
            " or set retraining.command"
        )
    return [found]


def arguments(
    settings: RetrainingSettings,
    *,
    snapshot_url: str,
    run_dir: Path,
    init: str,
    name: str,
    compare: str | None,
) -> list[str]:
    """Arguments of ``sightline-train run`` for one run."""
    found = [
        "run",
        *("--snapshot", snapshot_url),
        *("--bundle", str(run_dir / BUNDLE_FOLDER)),
        *("--run", str(run_dir)),
        *("--init", init),
        *("--name", name),
        *("--budget", settings.budget),
        *("--master", settings.master),
        *("--workers", str(settings.workers)),
        "--json",
        *settings.extra_arguments,
    ]
    return [*found, "--compare", compare] if compare else found


class TrainingProcess:
    """A process that was started here, or by an earlier server.

    Args:
        pid: Of the process, which leads its own group.
        run_dir: Its folder; the command line names it, which tells it from a later process that
            happens to have the same id.
        popen: The handle where this server started it.
    """

    def __init__(
        self, pid: int, run_dir: Path, popen: subprocess.Popen[bytes] | None = None
    ) -> None:
        self.pid = pid
        self._run_dir = run_dir
        self._popen = popen

    @classmethod
    def start(cls, command: Sequence[str], run_dir: Path, *, nice: int) -> "TrainingProcess":
        """Start it with a low priority.

        Raises:
            ConfigurationError: the program cannot be started.
        """
        run_dir.mkdir(parents=True, exist_ok=True)
        with (
            (run_dir / EVENTS_NAME).open("ab") as events,
            (run_dir / LOG_NAME).open("ab") as log,
        ):
            try:
                popen = subprocess.Popen(  # noqa: S603 - the command comes from the settings
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=events,
                    stderr=log,
                    env=_environment(os.environ),
                    start_new_session=True,
                )
            except OSError as error:
                raise ConfigurationError(f"cannot start {command[0]}: {error.strerror}") from error
        # Never upwards: that would take a privilege.
        inherited = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, popen.pid, max(nice, inherited))
        return cls(popen.pid, run_dir, popen)

    def is_alive(self) -> bool:
        """Whether it still runs."""
        if self._popen is not None:
            return self._popen.poll() is None
        return _is_ours(self.pid, self._run_dir)

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs, or when another server started it."""
        return self._popen.poll() if self._popen is not None else None

    def end(self) -> None:
        """End it and everything it started; first kindly, after `GRACE_S` at once."""
        if not self.is_alive():
            return
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        while self.is_alive() and time.monotonic() < deadline:
            time.sleep(POLL_S)
        self.clear_up()

    def clear_up(self) -> None:
        """Kill what is left of its group, for instance a JVM whose driver died.

        Only right after it was seen alive: later the number may be another group's.
        """
        self._signal(signal.SIGKILL)
        if self._popen is not None:
            self._popen.wait()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return


class EventTail:
    """Reads the JSON lines that were appended since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def skip(self) -> None:
        """Leave out what is there already."""
        self._offset = self._path.stat().st_size if self._path.exists() else 0

    def read(self) -> Iterator[Event]:
        """New events; a half-written line waits for its end, anything else on it is skipped."""
        try:
            stream = self._path.open("rb")
        except FileNotFoundError:
            return
        with stream:
            stream.seek(self._offset)
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                event = _parse(line)
                if event is not None:
                    yield event


def read_tail(path: Path, num_bytes: int = 8_000) -> str:
    """The end of a log, from the beginning of a line."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - num_bytes))
            text = stream.read().decode(errors="replace")
    except OSError:
        return ""
    return text if size <= num_bytes else text.partition("\n")[2]


def _parse(line: bytes) -> Event | None:
    try:
        event = parse_json(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    # Training reads snapshots, not the database: it gets none of the server's passwords.
    return {name: value for name, value in environ.items() if not name.startswith(ENV_PREFIX)}


def _is_ours(pid: int, run_dir: Path) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return str(run_dir).encode() in command and state != "Z"

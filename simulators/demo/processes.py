"""Processes that the demonstration starts: kept alive, and all of them ended with it."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from simulators.errors import SimulatorError

POLL_S = 0.2
TERMINATE_S = 12.0
KILL_S = 5.0
RESTART_PAUSE_S = 0.5
MAX_RESTARTS = 6
RESTART_WINDOW_S = 60.0
OWN_PREFIXES = ("SIGHTLINE_EDGE__", "SIGHTLINE_CLOUD")
"""Settings in the user's environment are for other installations, not for the demonstration."""
MARK = "SIGHTLINE_DEMO"
"""Variable that every process of a demonstration inherits, down to Spark's workers."""


class StoppedError(SimulatorError):
    """The user asked to stop while something was under way."""

    def __init__(self) -> None:
        super().__init__("stopped")


@dataclass(slots=True)
class Child:
    """A process that must be there all the time."""

    name: str
    command: tuple[str, ...]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started_at: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_RESTARTS))


class Supervisor:
    """Starts processes in groups of their own, restarts those that die, ends all.

    Args:
        root: Folder of the demonstration; marks its processes, so that the next start finds what
            one that was killed left behind.
        on_restart: Told the name of a process that had died and was started again.
    """

    def __init__(self, root: Path, *, on_restart: Callable[[str], None] = lambda _: None) -> None:
        self._mark = str(root)
        self._logs = root / "logs"
        self._on_restart = on_restart
        self._children: dict[str, Child] = {}
        self._tasks: dict[int, subprocess.Popen[bytes]] = {}
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._failure: SimulatorError | None = None
        self._logs.mkdir(parents=True, exist_ok=True)
        end_marked(self._mark)
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._thread.start()

    def keep(self, name: str, command: Sequence[str]) -> None:
        """Start a process and keep it alive."""
        with self._lock:
            child = Child(name, tuple(command), self._logs / f"{name}.log")
            self._children[name] = child
            self._start(child)

    def run(self, name: str, command: Sequence[str], *, nice: int = 0) -> None:
        """Run a task to its end.

        Raises:
            SimulatorError: it failed; the text ends with its last words.
            StoppedError: `stop` was called meanwhile.
        """
        log = self._logs / f"{name}.log"
        with self._lock:
            if self._stopping.is_set():
                raise StoppedError
            process = self._spawn(("nice", "-n", str(nice), *command) if nice else command, log)
            self._tasks[process.pid] = process
        code = process.wait()
        with self._lock:
            del self._tasks[process.pid]
        if self._stopping.is_set():
            raise StoppedError
        if code != 0:
            raise SimulatorError(f"{name} failed: {last_words(log)}")

    def check(self) -> None:
        """See that everything lives.

        Raises:
            SimulatorError: a process died again and again.
        """
        if self._failure is not None:
            raise self._failure

    @property
    def has_failed(self) -> bool:
        """Whether a process was given up; `check` tells which."""
        return self._failure is not None

    def pid(self, name: str) -> int | None:
        """Process id of a process that is kept alive."""
        with self._lock:
            process = self._children[name].process
            return process.pid if process else None

    def stop_tasks(self) -> None:
        """Begin no more tasks, and end those under way."""
        self._stopping.set()
        with self._lock:
            tasks = list(self._tasks.values())
        for process in tasks:
            _signal_group(process, signal.SIGTERM)

    def stop(self) -> None:
        """End every process: politely, then not; and whatever they left behind."""
        self._stopping.set()
        self._thread.join(timeout=5)
        with self._lock:
            kept = [c.process for c in self._children.values() if c.process is not None]
            tasks = list(self._tasks.values())
        # Whoever was started first, the broker, is needed by the others to say goodbye.
        _end((*tasks, *kept[1:]))
        _end(kept[:1])
        end_marked(self._mark)

    def _watch(self) -> None:
        while not self._stopping.wait(POLL_S):
            with self._lock:
                dead = [c for c in self._children.values() if c.process and _has_ended(c.process)]
            for child in dead:
                self._restart(child)

    def _restart(self, child: Child) -> None:
        now = time.monotonic()
        recent = [at for at in child.started_at if at > now - RESTART_WINDOW_S]
        if len(recent) >= MAX_RESTARTS:
            self._failure = SimulatorError(
                f"{child.name} ended {MAX_RESTARTS} times in a minute: {last_words(child.log)}"
            )
            return
        if self._stopping.wait(RESTART_PAUSE_S):
            return
        with self._lock:
            if self._stopping.is_set():
                return
            if child.process is not None:
                # What it had started itself must not live on beside its successor.
                _signal_group(child.process, signal.SIGKILL)
            self._start(child)
        self._on_restart(child.name)

    def _start(self, child: Child) -> None:
        child.process = self._spawn(child.command, child.log)
        child.started_at.append(time.monotonic())

    def _spawn(self, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            try:
                return subprocess.Popen(  # noqa: S603 - our own programs
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=_environment(os.environ, self._mark),
                )
            except OSError as error:
                raise SimulatorError(
                    f"{command[0]} cannot be started ({error.strerror}): set it up with make demo"
                ) from error


def program(name: str, *arguments: str) -> list[str]:
    """Command line of one of our own programs, from the same environment as this one."""
    return [str(Path(sys.executable).parent / name), *arguments]


def last_words(log: Path) -> str:
    """The last line that a process wrote, without the time stamp of a log."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    words = lines[-1][-300:] if lines else "it wrote nothing"
    return f"{words} (see {log})"


def end_marked(mark: str) -> None:
    """End every process that carries this mark, whoever its parent is by now, and see it gone."""
    deadline = time.monotonic() + KILL_S
    while pids := marked_processes(mark):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            return
        time.sleep(POLL_S / 4)


def marked_processes(mark: str) -> list[int]:
    """Process ids of a demonstration; empty where there is no ``/proc``."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # it ended, or belongs to somebody else
            if wanted in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def _environment(given: Mapping[str, str], mark: str) -> dict[str, str]:
    own = {key: value for key, value in given.items() if not key.startswith(OWN_PREFIXES)}
    return own | {MARK: mark}


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is not None


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # The group outlives its leader: a dead server may have left a training run behind.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        _signal_group(process, signal.SIGTERM)
    deadline = time.monotonic() + TERMINATE_S
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(deadline - time.monotonic(), 0.05))
    for process in processes:
        _signal_group(process, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)

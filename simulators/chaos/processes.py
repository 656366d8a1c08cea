"""Processes that a test may kill, stop and look into."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from simulators.errors import SimulatorError

END_TIMEOUT_S = 45.0
POLL_S = 0.02


class ManagedProcess:
    """A program of ours that comes and goes; its output goes to one log.

    Args:
        arguments: after the Python interpreter.
        log: what it writes, of all its lives.
        prefix: put before the interpreter, to run it somewhere else.
    """

    def __init__(self, arguments: Sequence[str], log: Path, *, prefix: Sequence[str] = ()) -> None:
        self.prefix = tuple(prefix)
        self.log_path = log
        self.environment = {"PYTHONFAULTHANDLER": "1"}
        self._arguments = tuple(arguments)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin a new life."""
        command = [*self.prefix, sys.executable, *self._arguments]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own programs
                command, stdout=log, stderr=log, env=os.environ | self.environment
            )

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM)

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of this life."""
        if self._process is None:
            raise SimulatorError("the process was not started")
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything it has written."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def rss_bytes(self) -> int:
        """Memory that it holds now."""
        pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def num_descriptors(self) -> int:
        """Open file descriptors."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(number)
        try:
            return process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # its threads say in the log where they are
            process.wait(END_TIMEOUT_S)
            raise SimulatorError(
                f"pid {process.pid} did not end within {END_TIMEOUT_S:g} s: {self.log[-6000:]}"
            ) from None


def wait_for(condition: Callable[[], bool], timeout_s: float, what: str) -> float:
    """Wait until it is true; how long that took.

    Raises:
        SimulatorError: it did not come to be.
    """
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > timeout_s:
            raise SimulatorError(f"waited {timeout_s:g} s in vain: {what}")
        time.sleep(POLL_S)
    return time.monotonic() - begin

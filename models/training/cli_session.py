"""What every command needs around its work: a session, a reporter, and an end in one line."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from models.contract.model import ContractError
from models.training.errors import InputError, RunFailedError, TrainingError
from models.training.reporting import JsonReporter, Reporter, TerminalReporter

SPARK_LOG = "spark.log"


@contextmanager
def open_session(
    reporter: Reporter,
    master: str,
    workers: int | None,
    run_dir: Path | None = None,
    *,
    reuse_workers: bool = False,
) -> Iterator[Any]:
    """Start Spark for the block; its noise goes to a file in the run folder.

    ``reuse_workers`` is for work without TensorFlow.
    """
    from models.training import spark_session

    log = None
    if run_dir is not None:
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--run {run_dir}: {error.strerror}") from error
        log = run_dir / SPARK_LOG
    reporter.stage("start", f"starting Spark on {master}")
    with spark_session.open_session(
        master, min_slots=workers or 1, log=log, reuse_workers=reuse_workers
    ) as session:
        # Spark has put its own handler in the place of ours.
        interruption.listen()
        yield session


class Interruption:
    """Ctrl-C, or the end that a supervisor asks for: Java goes, and with it every worker."""

    def __init__(self) -> None:
        self.signal_number = 0

    def listen(self) -> None:
        """Take over both signals."""
        signal.signal(signal.SIGINT, self._handle)
        signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature
        self.signal_number = number
        # What fails now fails because of the interruption; it is told in one line.
        logging.disable(logging.CRITICAL)
        if "models.training.spark_session" in sys.modules:
            sys.modules["models.training.spark_session"].end_java()
        raise KeyboardInterrupt


interruption = Interruption()


@contextmanager
def reporting(as_json: bool) -> Iterator[Reporter]:
    """Turn every expected failure of the block into one line and an exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    make: Callable[[], Reporter] = JsonReporter if as_json else TerminalReporter
    with make() as reporter:
        try:
            yield reporter
        except (Exception, KeyboardInterrupt) as error:
            message, exit_code = _in_one_line(error)
            reporter.error(message)
            raise typer.Exit(exit_code) from error


def _in_one_line(error: BaseException) -> tuple[str, int]:
    """What to say of a failure, and the exit code that goes with it.

    Raises:
        BaseException: the error itself, when it is none that was foreseen.
    """
    if interruption.signal_number or isinstance(error, KeyboardInterrupt):
        number = interruption.signal_number or signal.SIGINT
        return "interrupted; the same command goes on from the last checkpoint", 128 + number
    if isinstance(error, TrainingError):
        return str(error), error.exit_code
    if isinstance(error, ContractError):
        return str(error), InputError.exit_code
    if isinstance(error, OSError | ValueError):
        lines = str(error).strip().splitlines()
        return (lines or [type(error).__name__])[0], RunFailedError.exit_code
    raise error

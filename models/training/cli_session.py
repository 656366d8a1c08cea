"""What every command needs around its work: a session, a reporter, and an end in one line."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from models.contract.model import ContractError
from models.training.errors import InputError, RunFailedError, TrainingError
from models.training.reporting import JsonReporter, Reporter, TerminalReporter

SPARK_LOG = "spark.log"
INTERRUPTED = 130


@contextmanager
def open_session(
    reporter: Reporter, master: str, workers: int | None, run_dir: Path | None = None
) -> Iterator[Any]:
    """Start Spark for the block; its noise goes to a file in the run folder."""
    from models.training import spark_session

    log = None
    if run_dir is not None:
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--run {run_dir}: {error.strerror}") from error
        log = run_dir / SPARK_LOG
    reporter.stage("start", f"starting Spark on {master}")
    with spark_session.open_session(master, min_slots=workers or 1, log=log) as session:
        yield session


@contextmanager
def reporting(as_json: bool) -> Iterator[Reporter]:
    """Turn every expected failure of the block into one line and an exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    make: Callable[[], Reporter] = JsonReporter if as_json else TerminalReporter
    with make() as reporter:
        try:
            yield reporter
        except TrainingError as error:
            reporter.error(str(error))
            raise typer.Exit(error.exit_code) from error
        except ContractError as error:
            reporter.error(str(error))
            raise typer.Exit(InputError.exit_code) from error
        except (OSError, ValueError) as error:
            reporter.error((str(error).strip() or type(error).__name__).splitlines()[0])
            raise typer.Exit(RunFailedError.exit_code) from error
        except KeyboardInterrupt as error:
            reporter.error("interrupted; the same command goes on from the last checkpoint")
            raise typer.Exit(INTERRUPTED) from error

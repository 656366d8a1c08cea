"""A fit as the driver sees it: prepare, start the ranks, follow them, start them again."""

import shutil
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession

from models.contract.bundle import (
    FLOAT_WEIGHTS_NAME,
    MANIFEST_NAME,
    SPEC_NAME,
)
from models.contract.snapshot import Split
from models.training.barrier import Rank, run_ranks
from models.training.default_init import BASELINE_BUNDLE
from models.training.errors import InputError, RunFailedError
from models.training.fit_settings import (
    BASELINE,
    BEST_NAME,
    CHECKPOINT_FOLDER,
    IMAGENET,
    NONE,
    OUTCOME_NAME,
    PLAN_NAME,
    PROGRESS_NAME,
    REPORT_NAME,
    RUN_NAME,
    WEIGHTS_NAME,
    FitOutcome,
    FitSettings,
    RunState,
    read_run_file,
    write_run_file,
)
from models.training.operating_point import not_above
from models.training.preparation import FitRequest, chosen_settings, parent_of, prepare
from models.training.progress import Listener, follow
from models.training.snapshot_io import (
    IndexRow,
    Place,
    dealt,
    placed_rows,
    read_index,
    read_manifest,
)
from models.training.spark_errors import is_lost_worker, one_line
from models.training.spark_session import total_slots
from models.training.trainer import FitOrder, RankTrainer

MAX_RESTARTS = 3
HOLD_OUT_EVERY = 10
OUTPUT_NAMES = (PLAN_NAME, PROGRESS_NAME, BEST_NAME, WEIGHTS_NAME, OUTCOME_NAME, REPORT_NAME)


def fit(
    session: SparkSession, request: FitRequest, listener: Listener
) -> tuple[RunState, FitOutcome]:
    """Train until the budget or the steps are used up.

    Raises:
        InputError: the snapshot, the initial weights or the run folder cannot be used.
        RunFailedError: the ranks failed, or died more often than is worth trying again.
    """
    started = time.time()
    index = read_index(session, request.snapshot_url, Split)
    state = prepare(request, index, cores=total_slots(session))
    resume = open_run(request, state)
    earlier = read_run_file(request.run_dir, OUTCOME_NAME, FitOutcome) if resume else None
    if earlier is not None:
        return state, earlier
    listener({"event": "setup", "stage": "fit", "reasons": list(state.reasons)})
    order = FitOrder(
        state=state,
        run_dir=str(request.run_dir.resolve()),
        init_files=init_files(request.init),
        deadline=started + request.budget_s if request.budget_s else None,
        resume=resume,
    )
    places = choose_rows(index, state.settings, request.workers)
    with follow(request.run_dir, listener):
        outcome = _run_until_done(session, order, places, request.workers)
    parent = parent_of(request.init)
    outcome = outcome.model_copy(
        update={
            "seconds": round(time.time() - started, 1),
            "master": session.sparkContext.master,
            "thresholds": not_above(outcome.thresholds, parent.thresholds if parent else {}),
        }
    )
    write_run_file(request.run_dir, OUTCOME_NAME, outcome)
    return state, outcome


def check_request(request: FitRequest) -> None:
    """Refuse what cannot be done before Spark, which takes seconds to start, is asked for it.

    Raises:
        InputError: no snapshot, no time, or initial weights that cannot be used.
    """
    read_manifest(request.snapshot_url)
    settings = chosen_settings(request, {})
    if settings.steps is None and request.budget_s is None:
        raise InputError("say how long to train: --budget 45m or --steps 2000")
    init, path = request.init, init_path(request.init)
    if init in (IMAGENET, NONE) or path.is_file():
        return
    if not path.is_dir():
        raise InputError(
            f"--init {init}: no such bundle or weights file (or imagenet, baseline, none)"
        )
    for name in (MANIFEST_NAME, SPEC_NAME, FLOAT_WEIGHTS_NAME):
        if not (path / name).is_file():
            raise InputError(f"--init {init}: this bundle has no {name} to start from")


def init_files(init: str) -> dict[str, bytes]:
    """Files of the initial weights, to travel with the job."""
    path = init_path(init)
    if path.is_file():
        return {path.name: path.read_bytes()}
    if path.is_dir():
        names = (MANIFEST_NAME, SPEC_NAME, FLOAT_WEIGHTS_NAME)
        return {name: (path / name).read_bytes() for name in names}
    return {}


def init_path(init: str) -> Path:
    """Where initial weights lie, if they are files."""
    return BASELINE_BUNDLE if init == BASELINE else Path(init)


def open_run(request: FitRequest, state: RunState) -> bool:
    """Make the run folder ready; whether there is something in it to go on with.

    A run that was interrupted goes on by itself. One that ended starts anew unless the caller
    wants its result.

    Raises:
        InputError: told to resume, and there is nothing, or another run.
    """
    run_dir = request.run_dir
    found = read_run_file(run_dir, RUN_NAME, RunState)
    is_finished = (run_dir / request.last_file).exists()
    matches = found is not None and found.continues(state)
    if request.resume and not matches:
        what = "holds another run" if found else "holds no run"
        raise InputError(f"--resume: {run_dir} {what} than this; leave --resume out to start anew")
    if matches and (request.resume or not is_finished):
        return True
    try:
        for name in OUTPUT_NAMES:
            (run_dir / name).unlink(missing_ok=True)
        shutil.rmtree(run_dir / CHECKPOINT_FOLDER, ignore_errors=True)
        run_dir.mkdir(parents=True, exist_ok=True)
        write_run_file(run_dir, RUN_NAME, state)
    except OSError as error:
        raise InputError(f"--run {run_dir}: {error.strerror}") from error
    return False


def choose_rows(index: Iterable[IndexRow], settings: FitSettings, workers: int) -> dict[str, Place]:
    """Which pictures train, which validate, and on which rank.

    A snapshot without validation pictures lends every tenth of its training pictures.
    """
    ids: dict[Split, list[str]] = {split: [] for split in Split}
    for row in index:
        ids[row.split].append(row.image_id)
    train, validation = sorted(ids[Split.TRAIN]), sorted(ids[Split.VAL])
    if not validation and len(train) >= 2 * HOLD_OUT_EVERY:
        validation = train[::HOLD_OUT_EVERY]
        train = [image_id for image_id in train if image_id not in set(validation)]
    validation = validation[: settings.max_validation_pictures]
    return dealt(train, Split.TRAIN, workers) | dealt(validation, Split.VAL, workers)


def _run_until_done(
    session: SparkSession, order: FitOrder, places: dict[str, Place], workers: int
) -> FitOutcome:
    rows = placed_rows(session, order.state.snapshot_url, places, workers)
    for attempt in range(MAX_RESTARTS + 1):
        current = replace(order, attempt=attempt, resume=order.resume or attempt > 0)
        try:
            answers = run_ranks(rows, _work(current))
        except Exception as error:
            # Spark and py4j share no root; what matters is whether trying again can help.
            if not is_lost_worker(error) or attempt == MAX_RESTARTS:
                raise RunFailedError(f"training failed: {one_line(error)}") from error
            continue
        outcome = FitOutcome.model_validate_json(answers[0])
        return outcome.model_copy(update={"num_restarts": attempt})
    raise AssertionError("the last attempt returns or raises")


def _work(order: FitOrder) -> Any:  # noqa: ANN401 - a closure for Spark
    def work(rank: Rank, strategy: Any, batches: Iterable[pa.RecordBatch]) -> str:  # noqa: ANN401
        return RankTrainer(order, rank, strategy, batches).run().model_dump_json()

    return work

"""A fit as the driver sees it: prepare, start the ranks, follow them, start them again."""

import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import ValidationError
from pyspark.sql import SparkSession

from models.contract.bundle import (
    FLOAT_WEIGHTS_NAME,
    MANIFEST_NAME,
    SPEC_NAME,
    BundleManifest,
)
from models.contract.bundle import read_manifest as read_bundle_manifest
from models.contract.model import first_fault
from models.contract.snapshot import Split
from models.detector.spec import DetectorSpec, read_spec
from models.training.auto_spec import SpecWishes, choose_spec
from models.training.barrier import Rank, run_ranks
from models.training.errors import InputError, RunFailedError
from models.training.fit_settings import (
    CHECKPOINT_FOLDER,
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
from models.training.trainer import FitOrder, RankTrainer

IMAGENET = "imagenet"
NONE = "none"
MAX_RESTARTS = 3
HOLD_OUT_EVERY = 10


@dataclass(frozen=True, slots=True)
class FitRequest:
    """What the caller asks for.

    Attributes:
        snapshot_url: where the pictures are.
        init: a bundle folder, a ``.weights.h5`` of MobileNetV2, ``imagenet`` or ``none``.
        run_dir: on a path that the driver and all workers share.
        name: of the model.
        workers: ranks.
        budget_s: wall time of the fit; None: the settings name the steps.
        overrides: fields of `FitSettings` that differ from the defaults for this init.
        wishes: about the detector's geometry; they do not count for a bundle.
        last_file: what the run folder holds when all is done: the fit's outcome, or the report
            of a run that goes on to make a bundle.
        resume: the caller insists on going on with an earlier run.
    """

    snapshot_url: str
    init: str
    run_dir: Path
    name: str
    workers: int
    budget_s: float | None
    overrides: dict[str, Any]
    wishes: SpecWishes = field(default_factory=SpecWishes)
    last_file: str = OUTCOME_NAME
    resume: bool = False


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
    state = prepare(request, index)
    resume = open_run(request, state)
    earlier = read_run_file(request.run_dir, OUTCOME_NAME, FitOutcome) if resume else None
    if earlier is not None:
        return state, earlier
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
    parent = _parent(request.init)
    outcome = outcome.model_copy(
        update={
            "seconds": round(time.time() - started, 1),
            "master": session.sparkContext.master,
            "thresholds": not_above(outcome.thresholds, parent.thresholds if parent else {}),
        }
    )
    write_run_file(request.run_dir, OUTCOME_NAME, outcome)
    return state, outcome


def prepare(request: FitRequest, index: list[IndexRow]) -> RunState:
    """Fix everything that the ranks must agree on."""
    manifest = read_manifest(request.snapshot_url)
    train = [row for row in index if row.split is Split.TRAIN]
    if not train:
        raise InputError(f"snapshot {request.snapshot_url} has no training pictures")
    parent = _parent(request.init)
    spec, new = _spec(request, manifest.categories, train, parent)
    kinds = {category.name: category for category in manifest.categories}
    if parent:
        kinds = {category.name: category for category in parent.categories} | kinds
    settings = chosen_settings(request.init, request.overrides)
    if settings.batch % request.workers:
        rounded = -(-settings.batch // request.workers) * request.workers
        settings = settings.model_copy(update={"batch": rounded})
    return RunState(
        snapshot_id=manifest.snapshot_id,
        snapshot_url=request.snapshot_url,
        init=request.init,
        parent_bundle_id=parent.bundle_id if parent else None,
        name=request.name,
        categories=tuple(kinds[name] for name in spec.categories),
        new_categories=new,
        boxes_per_class=boxes_per_class(train, spec.categories),
        spec=spec,
        settings=settings,
    )


def boxes_per_class(rows: Iterable[IndexRow], names: Sequence[str]) -> tuple[int, ...]:
    """Labelled boxes of each class."""
    counts = Counter(box[0] for row in rows for box in row.boxes)
    return tuple(counts[name] for name in names)


def default_settings(init: str) -> FitSettings:
    """Settings that suit where the weights come from."""
    if Path(init).is_dir():
        # What the bundle knows must survive: statistics that stay, and a small rate for the
        # backbone. The early blocks see edges and textures; left alone they save a third of each
        # step's time. Small batches: minutes must do, and it is steps that teach a new category.
        return FitSettings(
            batch=8,
            learning_rate=1e-3,
            backbone_rate_ratio=0.3,
            frozen_below="block_6",
            freeze_norms=True,
            new_share=0.5,
            validations=2,
        )
    if init == NONE:
        return FitSettings(backbone_rate_ratio=1.0, train_backbone_norms=True)
    return FitSettings()


def chosen_settings(init: str, overrides: Mapping[str, Any]) -> FitSettings:
    """The defaults for this init with what the caller wants otherwise.

    Raises:
        InputError: there is no such setting, or not with this value.
    """
    unknown = sorted(overrides.keys() - FitSettings.model_fields.keys())
    if unknown:
        known = ", ".join(FitSettings.model_fields)
        raise InputError(f"--set {unknown[0]}: no such setting; there are {known}")
    try:
        return FitSettings.model_validate(default_settings(init).model_dump() | dict(overrides))
    except ValidationError as error:
        raise InputError(f"--set {first_fault(error)}") from error


def check_request(request: FitRequest) -> None:
    """Refuse what cannot be done before Spark, which takes seconds to start, is asked for it.

    Raises:
        InputError: no snapshot, no time, or initial weights that cannot be used.
    """
    read_manifest(request.snapshot_url)
    settings = chosen_settings(request.init, request.overrides)
    if settings.steps is None and request.budget_s is None:
        raise InputError("say how long to train: --budget 45m or --steps 2000")
    init, path = request.init, Path(request.init)
    if init in (IMAGENET, NONE) or path.is_file():
        return
    if not path.is_dir():
        raise InputError(f"--init {init}: no such bundle or weights file (or imagenet, none)")
    for name in (MANIFEST_NAME, SPEC_NAME, FLOAT_WEIGHTS_NAME):
        if not (path / name).is_file():
            raise InputError(f"--init {init}: this bundle has no {name} to start from")


def init_files(init: str) -> dict[str, bytes]:
    """Files of the initial weights, to travel with the job."""
    path = Path(init)
    if path.is_file():
        return {path.name: path.read_bytes()}
    if path.is_dir():
        names = (MANIFEST_NAME, SPEC_NAME, FLOAT_WEIGHTS_NAME)
        return {name: (path / name).read_bytes() for name in names}
    return {}


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
        for name in (PLAN_NAME, PROGRESS_NAME, OUTCOME_NAME, WEIGHTS_NAME, REPORT_NAME):
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


def _parent(init: str) -> BundleManifest | None:
    return read_bundle_manifest(Path(init)) if Path(init).is_dir() else None


def _spec(
    request: FitRequest,
    categories: Iterable[Any],
    train: list[IndexRow],
    parent: BundleManifest | None,
) -> tuple[DetectorSpec, tuple[str, ...]]:
    """The detector to train, and its categories that the initial weights do not know."""
    names = tuple(category.name for category in categories)
    if parent is None:
        try:
            return choose_spec(train, names, request.wishes), ()
        except ValueError as error:
            raise InputError(f"no such detector: {str(error).splitlines()[-1].strip()}") from error
    known = parent.category_names
    new = tuple(name for name in names if name not in known)
    return read_spec(Path(request.init)).with_categories(known + new), new

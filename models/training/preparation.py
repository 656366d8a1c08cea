"""What a fit is asked for, and what follows from that and from the data."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models.contract.bundle import BundleManifest, Category
from models.contract.bundle import read_manifest as read_bundle_manifest
from models.contract.model import first_fault
from models.contract.snapshot import Split
from models.detector.spec import read_spec
from models.training.auto_setup import Setup, Wishes, choose_setup, choose_training
from models.training.errors import InputError
from models.training.fit_settings import (
    NONE,
    OUTCOME_NAME,
    RUN_NAME,
    FitSettings,
    RunState,
    read_run_file,
)
from models.training.snapshot_io import IndexRow, read_manifest

# A look at the validation pictures about this often, so that a bad run shows early.
VALIDATION_EVERY_S = 400.0
VALIDATION_RANGE = (3, 10)
WINDOW_FIELDS = ("window_width", "window_height")


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
    wishes: Wishes = field(default_factory=Wishes)
    last_file: str = OUTCOME_NAME
    resume: bool = False


def prepare(request: FitRequest, index: list[IndexRow], *, cores: int = 2) -> RunState:
    """Fix everything that the ranks must agree on.

    Args:
        request: of the caller.
        index: all pictures of the snapshot.
        cores: that will train.

    Raises:
        InputError: nothing to train on, or settings that cannot be.
    """
    manifest = read_manifest(request.snapshot_url)
    train = [row for row in index if row.split is Split.TRAIN]
    if not train:
        raise InputError(f"snapshot {request.snapshot_url} has no training pictures")
    parent = parent_of(request.init)
    setup, new = _setup(request, manifest.categories, train, parent, cores)
    kinds = {category.name: category for category in manifest.categories}
    if parent:
        kinds = {category.name: category for category in parent.categories} | kinds
    settings = chosen_settings(request, setup.settings)
    if settings.batch % request.workers:
        rounded = -(-settings.batch // request.workers) * request.workers
        settings = settings.model_copy(update={"batch": rounded})
    state = RunState(
        snapshot_id=manifest.snapshot_id,
        snapshot_url=request.snapshot_url,
        init=request.init,
        parent_bundle_id=parent.bundle_id if parent else None,
        name=request.name,
        categories=tuple(kinds[name] for name in setup.spec.categories),
        new_categories=new,
        boxes_per_class=boxes_per_class(train, setup.spec.categories),
        spec=setup.spec,
        settings=settings,
        reasons=(*setup.reasons, why_rate(request, settings)),
    )
    return _as_it_began(request, state)


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
    # Down to stride 4 the maps are large and what they show is general: leaving them alone
    # saves a fifth of each step.
    # The backbone's rate matters more than the heads': after 1,000 steps on DeepPCB a tenth of 2e-3
    # gave mAP@0.5 .91, three tenths .92 (but .79 instead of .85 half-way), the whole .77.
    return FitSettings(learning_rate=2e-3, backbone_rate_ratio=0.2, frozen_below="block_3")


def chosen_settings(request: FitRequest, from_data: Mapping[str, Any]) -> FitSettings:
    """The defaults for this init, then what suits the data, then what the caller wants.

    Raises:
        InputError: there is no such setting, or not with this value.
    """
    unknown = sorted(request.overrides.keys() - FitSettings.model_fields.keys())
    if unknown:
        known = ", ".join(FitSettings.model_fields)
        raise InputError(f"--set {unknown[0]}: no such setting; there are {known}")
    chosen = default_settings(request.init).model_dump() | dict(from_data)
    try:
        return FitSettings.model_validate(chosen | dict(request.overrides))
    except ValidationError as error:
        raise InputError(f"--set {first_fault(error)}") from error


def why_rate(request: FitRequest, settings: FitSettings) -> str:
    """The learning rates for people, with the reason."""
    text = f"learning rate {settings.learning_rate:g}"
    if settings.backbone_rate_ratio != 1:
        text += f", {settings.learning_rate * settings.backbone_rate_ratio:g} for the backbone"
    if {"learning_rate", "backbone_rate_ratio"} & request.overrides.keys():
        return f"{text}: as asked for"
    if Path(request.init).is_dir():
        return f"{text}: what the bundle knows must survive"
    if request.init == NONE:
        return f"{text}: nothing is pretrained"
    return f"{text}: it is pretrained, and neck and heads begin with nothing"


def parent_of(init: str) -> BundleManifest | None:
    """The bundle that a fit goes on from, if it does."""
    return read_bundle_manifest(Path(init)) if Path(init).is_dir() else None


def _setup(
    request: FitRequest,
    categories: Sequence[Category],
    train: list[IndexRow],
    parent: BundleManifest | None,
    cores: int,
) -> tuple[Setup, tuple[str, ...]]:
    """Detector and training, and the categories that the initial weights do not know."""
    names = tuple(category.name for category in categories)
    if parent is None:
        try:
            setup = choose_setup(
                train, names, request.wishes, budget_s=request.budget_s, cores=cores
            )
        except ValueError as error:
            raise InputError(f"no such detector: {str(error).splitlines()[-1].strip()}") from error
        if request.budget_s:
            low, high = VALIDATION_RANGE
            rounds = round(request.budget_s / VALIDATION_EVERY_S)
            setup.settings["validations"] = min(high, max(low, rounds))
        return setup, ()
    known = parent.category_names
    new = tuple(name for name in names if name not in known)
    spec = read_spec(Path(request.init)).with_categories(known + new)
    training = choose_training(train, spec)
    # A bundle's batch is chosen for the short fit that it gets; its ways up stay as they were.
    kept = {name: training.settings[name] for name in WINDOW_FIELDS if name in training.settings}
    return Setup(spec, kept, (f"geometry and anchors: as in bundle {parent.bundle_id}",)), new


def _as_it_began(request: FitRequest, state: RunState) -> RunState:
    """A run that goes on keeps the detector that it began with, also under another budget."""
    found = read_run_file(request.run_dir, RUN_NAME, RunState)
    goes_on = request.resume or not (request.run_dir / request.last_file).exists()
    if found is None or not goes_on or request.wishes != Wishes():
        return state
    same = found.model_copy(update={"spec": state.spec}).continues(state)
    return (
        state.model_copy(update={"spec": found.spec, "reasons": found.reasons}) if same else state
    )

"""The commands that train: ``fit``, ``export`` and ``run``, which is both."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from models.contract.bundle import read_manifest
from models.contract.snapshot import Split
from models.training import cli_options as options
from models.training.cli_session import SPARK_LOG, open_session, reporting
from models.training.default_init import default_init
from models.training.errors import InputError
from models.training.fit_settings import REPORT_NAME
from models.training.operating_point import Costs
from models.training.reporting import Reporter

# What a run keeps of its budget for export and evaluation: a fifth, within these, and of a long
# one a twentieth, so that more careful ways to quantize can be tried.
RESERVE_RATIO = 0.2
RESERVE_RANGE_S = (20.0, 150.0)
LONG_RESERVE_RATIO = 0.05
# The most that a run of so many steps spends on export and evaluation.
GATE_S = 900.0
# Of a report; thousands of figures that no progress line needs.
LONG_PARTS = ("analysis", "operating_point")


@dataclass(frozen=True, slots=True)
class Finish:
    """What the caller wants of the part after the fit."""

    costs: Costs
    ends_at: float
    """Monotonic second."""
    compare: Path | None


def fit(
    *,
    snapshot: options.SnapshotUrl,
    run: Annotated[Path, typer.Option(help="Folder of the run; shared by all workers.")],
    init: options.Init = None,
    name: options.Name = None,
    budget: Annotated[str | None, typer.Option(help="Wall time of the fit, such as 45m.")] = None,
    steps: options.Steps = None,
    batch: options.Batch = None,
    seed: options.Seed = 0,
    setting: options.Settings = None,
    auto: options.Auto = True,
    resume: options.Resume = False,
    input_size: options.InputSize = None,
    width: options.Width = 1.0,
    levels: options.Levels = None,
    neck: options.Neck = "fpnlite",
    master: options.Master = "local[*]",
    workers: options.Workers = None,
    as_json: options.Json = False,
) -> None:
    """Train on Spark's barrier ranks; checkpoints and the best weights go to the run folder."""
    with reporting(as_json) as reporter:
        from models.training.fit import check_request
        from models.training.preparation import FitRequest

        init = _init(init, reporter)
        request = FitRequest(
            snapshot_url=snapshot,
            init=init,
            run_dir=run,
            name=name or options.model_name(init, run),
            workers=workers or 1,
            budget_s=None if steps or budget is None else options.seconds(budget),
            overrides=options.settings(setting or (), steps=steps, batch=batch, seed=seed),
            wishes=_wishes(input_size, width, levels, neck, auto=auto),
            resume=resume,
        )
        check_request(request)
        with open_session(reporter, master, workers, run) as session:
            outcome = _fit(session, request, reporter)
        reporter.done(
            f"{outcome.steps} steps in {outcome.seconds:.0f} s, validation mAP@0.5 "
            f"{figure(outcome.map50)}; weights in {run}",
            **outcome.model_dump(),
        )


def export(
    *,
    run: Annotated[Path, typer.Option(help="Folder of a finished fit.")],
    bundle: options.BundleDir,
    compare: options.Compare = None,
    escape_cost: options.EscapeCost = 10.0,
    false_reject_cost: options.FalseRejectCost = 1.0,
    budget: Annotated[str, typer.Option(help="Wall time of everything.")] = "15m",
    master: options.Master = "local[*]",
    workers: options.Workers = None,
    as_json: options.Json = False,
) -> None:
    """Quantize a finished fit, measure the INT8 file and write the bundle."""
    with reporting(as_json) as reporter:
        from models.training.finished_run import read_run
        from models.training.release_candidate import check_bundle_dir

        ends_at = time.monotonic() + options.seconds(budget)
        check_bundle_dir(bundle)
        read_run(run)
        with open_session(reporter, master, workers, run) as session:
            finish = Finish(options.costs(escape_cost, false_reject_cost), ends_at, compare)
            _finish(session, run, bundle, finish, reporter)


def run(
    *,
    snapshot: options.SnapshotUrl,
    bundle: options.BundleDir,
    run: Annotated[Path | None, typer.Option(help="Folder of the run.")] = None,
    init: options.Init = None,
    name: options.Name = None,
    budget: Annotated[str, typer.Option(help="Wall time of everything, such as 45m.")] = "45m",
    compare: options.Compare = None,
    escape_cost: options.EscapeCost = 10.0,
    false_reject_cost: options.FalseRejectCost = 1.0,
    steps: options.Steps = None,
    batch: options.Batch = None,
    seed: options.Seed = 0,
    setting: options.Settings = None,
    auto: options.Auto = True,
    resume: options.Resume = False,
    input_size: options.InputSize = None,
    width: options.Width = 1.0,
    levels: options.Levels = None,
    neck: options.Neck = "fpnlite",
    master: options.Master = "local[*]",
    workers: options.Workers = None,
    as_json: options.Json = False,
) -> None:
    """Fit, quantize, measure on the locked pictures, and write the bundle."""
    with reporting(as_json) as reporter:
        from models.training.fit import check_request
        from models.training.preparation import FitRequest
        from models.training.release_candidate import check_bundle_dir

        started, wanted_s = time.monotonic(), options.seconds(budget)
        check_bundle_dir(bundle)
        init = _init(init, reporter)
        run_dir = run or bundle.with_name(f"{bundle.name}.run")
        request = FitRequest(
            snapshot_url=snapshot,
            init=init,
            run_dir=run_dir,
            name=name or options.model_name(init, bundle),
            workers=workers or 1,
            budget_s=None if steps else fit_budget_s(options.seconds(budget)),
            overrides=options.settings(setting or (), steps=steps, batch=batch, seed=seed),
            wishes=_wishes(input_size, width, levels, neck, auto=auto),
            last_file=REPORT_NAME,
            resume=resume,
        )
        check_request(request)
        with open_session(reporter, master, workers, run_dir) as session:
            _fit(session, request, reporter)
            # A number of steps takes as long as it takes; only what follows can be kept short.
            gate_s = min(GATE_S, wanted_s)
            ends_at = time.monotonic() + gate_s if steps else started + wanted_s
            finish = Finish(options.costs(escape_cost, false_reject_cost), ends_at, compare)
            _finish(session, run_dir, bundle, finish, reporter)


def fit_budget_s(total_s: float) -> float:
    """What a run's budget leaves for its fit."""
    low, high = RESERVE_RANGE_S
    reserve_s = min(high, max(low, total_s * RESERVE_RATIO))
    return max(1.0, total_s - max(reserve_s, total_s * LONG_RESERVE_RATIO))


def figure(value: float | None) -> str:
    """A metric for people."""
    return "unknown" if value is None else f"{value:.3f}"


def _init(init: str | None, reporter: Reporter) -> str:
    """The caller's initial weights, or the best that this machine has."""
    if init is not None:
        return init
    chosen, remark = default_init()
    if remark:
        reporter.note(remark)
    return chosen


def _wishes(
    input_size: str | None, width: float, levels: str | None, neck: str, *, auto: bool
) -> Any:  # noqa: ANN401
    from models.training.auto_setup import Wishes

    if neck not in ("none", "fpnlite"):
        raise InputError(f"--neck {neck}: use none or fpnlite")
    return Wishes(*options.size(input_size), width, options.strides(levels), neck, auto)


def _fit(session: Any, request: Any, reporter: Reporter) -> Any:  # noqa: ANN401 - late imports
    from models.training import fit as fitting

    many = "s" if request.workers > 1 else ""
    reporter.stage("fit", f"training on {request.workers} worker{many}")
    _, outcome = fitting.fit(session, request, reporter.progress)
    return outcome


def _finish(
    session: Any,  # noqa: ANN401 - late import
    run_dir: Path,
    bundle: Path,
    wishes: "Finish",
    reporter: Reporter,
) -> None:
    """Everything after the fit."""
    from models.training import release_candidate as release
    from models.training import snapshot_io, spark_session
    from models.training.candidate import CandidateMaker, CandidateOrder
    from models.training.finished_run import read_run
    from models.training.picture_results import keep_picture_results

    finished = read_run(run_dir)
    made, compare = run_dir / "bundle.part", wishes.compare
    reporter.stage("export", "quantizing and measuring")
    index = snapshot_io.read_index(session, finished.state.snapshot_url, Split)
    order = CandidateOrder(
        parallelism=spark_session.total_slots(session),
        ends_at=wishes.ends_at,
        compare=compare,
        costs=wishes.costs,
        tell=reporter.note,
    )
    # TensorFlow and NNCF greet on the error stream when they are imported.
    with spark_session.error_stream_to(run_dir / SPARK_LOG):
        candidate = CandidateMaker(session, finished, made, index, order).make()
    if candidate.quantization.shipped != "int8":
        reporter.note(f"warning: ships in float: {candidate.quantization.reason}")
    reporter.stage("evaluate", "writing the card")
    manifest, analysis = release.seal_bundle(
        finished, made, candidate, costs=wishes.costs, index=index
    )
    release.put_in_place(made, bundle)
    known = {"candidate": manifest} | ({"running": read_manifest(compare)} if compare else {})
    keep_picture_results(
        run_dir,
        snapshot_id=finished.state.snapshot_id,
        index=index,
        split=candidate.split,
        judged=candidate.judged,
        manifests=known,
    )
    report = release.report_of(finished, manifest, candidate, analysis)
    (run_dir / REPORT_NAME).write_text(json.dumps(report, indent=2) + "\n")
    shipped = {"int8": "INT8", "f32": "float"}[manifest.precision]
    maps = [f"{shipped} mAP@0.5 {figure(report['candidate']['map50'])}"]
    maps += [f"{key} {figure(report[key]['map50'])}" for key in ("float", "running") if report[key]]
    reporter.done(
        f"bundle {manifest.bundle_id} in {bundle}: {', '.join(maps)} on "
        f"{report['candidate']['num_images']} {candidate.split.value} pictures",
        bundle=str(bundle),
        bundle_id=manifest.bundle_id,
        report={name: report[name] for name in report if name not in LONG_PARTS},
    )

"""The commands that train: ``fit``, ``export`` and ``run``, which is both."""

import json
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
from models.training.reporting import Reporter

# What a run keeps of its budget for export and evaluation: a fifth, within these.
RESERVE_RATIO = 0.2
RESERVE_RANGE_S = (20.0, 150.0)


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
            wishes=_wishes(input_size, width, levels, neck),
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
    master: options.Master = "local[*]",
    workers: options.Workers = None,
    as_json: options.Json = False,
) -> None:
    """Quantize a finished fit, measure the INT8 file and write the bundle."""
    with reporting(as_json) as reporter:
        from models.training.release_candidate import check_bundle_dir, read_run

        check_bundle_dir(bundle)
        read_run(run)
        with open_session(reporter, master, workers, run) as session:
            _finish(session, run, bundle, compare, reporter)


def run(
    *,
    snapshot: options.SnapshotUrl,
    bundle: options.BundleDir,
    run: Annotated[Path | None, typer.Option(help="Folder of the run.")] = None,
    init: options.Init = None,
    name: options.Name = None,
    budget: Annotated[str, typer.Option(help="Wall time of everything, such as 45m.")] = "45m",
    compare: options.Compare = None,
    steps: options.Steps = None,
    batch: options.Batch = None,
    seed: options.Seed = 0,
    setting: options.Settings = None,
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
            wishes=_wishes(input_size, width, levels, neck),
            last_file=REPORT_NAME,
            resume=resume,
        )
        check_request(request)
        with open_session(reporter, master, workers, run_dir) as session:
            _fit(session, request, reporter)
            _finish(session, run_dir, bundle, compare, reporter)


def fit_budget_s(total_s: float) -> float:
    """What a run's budget leaves for its fit."""
    low, high = RESERVE_RANGE_S
    return max(1.0, total_s - min(high, max(low, total_s * RESERVE_RATIO)))


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


def _wishes(input_size: str | None, width: float, levels: str | None, neck: str) -> Any:  # noqa: ANN401 - late import
    from models.training.auto_setup import Wishes

    if neck not in ("none", "fpnlite"):
        raise InputError(f"--neck {neck}: use none or fpnlite")
    return Wishes(*options.size(input_size), width, options.strides(levels), neck)


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
    compare: Path | None,
    reporter: Reporter,
) -> None:
    """Everything after the fit."""
    from models.training import release_candidate as release
    from models.training import snapshot_io, spark_session
    from models.training.picture_results import keep_picture_results

    finished = release.read_run(run_dir)
    made = run_dir / "bundle.part"
    reporter.stage("export", "quantizing")
    url = finished.state.snapshot_url
    index = snapshot_io.read_index(session, url, Split)
    pictures = release.choose_pictures(session, url, index)
    # TensorFlow and NNCF greet on the error stream when they are imported.
    with spark_session.error_stream_to(run_dir / SPARK_LOG):
        facts = release.export_run(finished, made, pictures)
    reporter.stage("evaluate", "measuring the INT8 model")
    judged, split = release.judge_candidate(
        session,
        finished,
        made,
        compare,
        index=index,
        parallelism=spark_session.total_slots(session),
    )
    manifest = release.seal_bundle(made, facts, judged, pictures)
    release.put_in_place(made, bundle)
    known = {"candidate": manifest} | ({"running": read_manifest(compare)} if compare else {})
    keep_picture_results(
        run_dir,
        snapshot_id=finished.state.snapshot_id,
        index=index,
        split=split,
        judged=judged,
        manifests=known,
    )
    report = release.report_of(finished, manifest, judged, split)
    (run_dir / REPORT_NAME).write_text(json.dumps(report, indent=2) + "\n")
    maps = [f"INT8 mAP@0.5 {figure(report['candidate']['map50'])}"]
    maps += [f"{key} {figure(report[key]['map50'])}" for key in ("float", "running") if report[key]]
    reporter.done(
        f"bundle {manifest.bundle_id} in {bundle}: {', '.join(maps)} on "
        f"{report['candidate']['num_images']} {split.value} pictures",
        bundle=str(bundle),
        bundle_id=manifest.bundle_id,
        report=report,
    )

"""``sightline-train``: pictures in, a measured model bundle out, all on Spark."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from models.contract.model import ContractError
from models.training.durations import parse_duration
from models.training.errors import InputError, RunFailedError, TrainingError
from models.training.reporting import JsonReporter, Reporter, TerminalReporter

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Import labelled pictures, fit, evaluate and export a detector on Spark.",
)

# What a run keeps of its budget for export and evaluation: a quarter, within these.
RESERVE_RATIO = 0.25
RESERVE_RANGE_S = (20.0, 150.0)
SPARK_LOG = "spark.log"

Master = Annotated[
    str, typer.Option(help="Spark master: local[N], spark://host:7077, yarn, k8s://…")
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="TensorFlow workers (ranks) of a fit, else parallel tasks."),
]
Json = Annotated[bool, typer.Option("--json", help="JSON lines on standard output.")]
SnapshotUrl = Annotated[str, typer.Option("--snapshot", help="Folder or URL of the snapshot.")]
Init = Annotated[
    str,
    typer.Option(help="Bundle to go on from, MobileNetV2 .weights.h5, imagenet or none."),
]
Budget = Annotated[
    str | None, typer.Option(help="Wall time, such as 45m; decides the number of steps.")
]
Steps = Annotated[int | None, typer.Option(min=1, help="Exact number of steps instead.")]
Batch = Annotated[int | None, typer.Option(min=1, help="Pictures a step, over all workers.")]
Seed = Annotated[int, typer.Option(min=0)]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the run in --run; fail if there is none.")
]
Name = Annotated[str | None, typer.Option(help="Name of the model.")]
InputSize = Annotated[str | None, typer.Option(help="Network input WxH instead of an own choice.")]
WidthMultiplier = Annotated[float, typer.Option("--width", help="Width multiplier of MobileNetV2.")]
Levels = Annotated[str | None, typer.Option(help="Strides, such as 8,16,32.")]
Neck = Annotated[str, typer.Option(help="none or fpnlite.")]
LearningRate = Annotated[float | None, typer.Option(help="Peak learning rate.")]


@app.command("import")
def import_command(
    *,
    labels: Annotated[list[Path], typer.Option(help="Label file or folder; may be repeated.")],
    images: Annotated[str, typer.Option(help="Folder or URL of the pictures.")],
    snapshot: SnapshotUrl,
    label_format: Annotated[str, typer.Option("--format", help="coco, yolo or voc.")] = "coco",
    split: Annotated[
        list[str] | None,
        typer.Option(help="auto, train, val or locked: for all labels, or one for each."),
    ] = None,
    objects: Annotated[str, typer.Option(help="Categories that are wanted, by commas.")] = "",
    defects: Annotated[str, typer.Option(help="Categories that are defects, by commas.")] = "",
    master: Master = "local[*]",
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Check labelled pictures and write them as an immutable snapshot."""
    with _reporting(as_json) as reporter:
        from models.training import dataset_formats, spark_pipeline, spark_session

        splits = _one_for_each(split or [spark_pipeline.AUTO_SPLIT], labels)
        sources = [
            spark_pipeline.ImportSource(
                dataset_formats.read_labels(
                    label_format, path, objects=_names(objects), defects=_names(defects)
                ),
                images,
                chosen,
                path.name,
            )
            for path, chosen in zip(labels, splits, strict=True)
        ]
        reporter.stage("start", f"starting Spark on {master}")
        with spark_session.open_session(master, min_slots=workers or 1) as session:
            slots = workers or spark_session.total_slots(session)
            reporter.stage("import", "checking pictures")
            manifest = spark_pipeline.import_snapshot(session, sources, snapshot, parallelism=slots)
        counts = {part.value: count.num_images for part, count in manifest.splits.items()}
        refused = sum(manifest.refused.values())
        text = f"snapshot {manifest.snapshot_id} at {snapshot}: " + ", ".join(
            f"{count} {part}" for part, count in counts.items()
        )
        if refused:
            text += f"; {refused} left out, listed in {spark_pipeline.REFUSED_NAME}"
        reporter.done(
            text,
            snapshot_id=manifest.snapshot_id,
            snapshot=snapshot,
            splits=counts,
            refused=manifest.refused,
        )


@app.command()
def fit(
    *,
    snapshot: SnapshotUrl,
    run: Annotated[Path, typer.Option(help="Folder of the run; shared by all workers.")],
    init: Init = "imagenet",
    name: Name = None,
    budget: Budget = None,
    steps: Steps = None,
    batch: Batch = None,
    seed: Seed = 0,
    resume: Resume = False,
    learning_rate: LearningRate = None,
    input_size: InputSize = None,
    width: WidthMultiplier = 1.0,
    levels: Levels = None,
    neck: Neck = "fpnlite",
    master: Master = "local[*]",
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Train on Spark's barrier ranks; checkpoints and the best weights go to the run folder."""
    with _reporting(as_json) as reporter:
        asked = _fit_request(locals(), budget_s=_seconds(budget))
        with _session(reporter, master, workers, run) as session:
            _, outcome = _fit(session, asked, reporter)
        reporter.done(
            f"{outcome.steps} steps in {outcome.seconds:.0f} s, validation mAP@0.5 "
            f"{_figure(outcome.map50)}; weights in {run}",
            **outcome.model_dump(),
        )


@app.command()
def evaluate(
    *,
    bundle: Annotated[Path, typer.Option(help="Bundle to judge.")],
    labels: Annotated[Path | None, typer.Option(help="COCO label file.")] = None,
    images: Annotated[str | None, typer.Option(help="Folder or URL of its pictures.")] = None,
    snapshot: Annotated[str | None, typer.Option(help="A snapshot instead.")] = None,
    split: Annotated[str, typer.Option(help="Split of the snapshot.")] = "locked",
    label_format: Annotated[str, typer.Option("--format", help="coco or voc.")] = "coco",
    predictions: Annotated[
        Path | None, typer.Option(help="Write detections here, in COCO's result format.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    master: Master = "local[*]",
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Judge a bundle's INT8 file on the executors, with pycocotools' numbers."""
    with _reporting(as_json) as reporter:
        from models.training import dataset_formats, spark_session
        from models.training import evaluate as evaluation

        if (labels is None) == (snapshot is None) or (labels is not None and images is None):
            raise InputError("say what to judge on: --labels and --images, or --snapshot")
        known = dataset_formats.read_labels(label_format, labels) if labels else None
        with _session(reporter, master, workers, None) as session:
            slots = workers or spark_session.total_slots(session)
            reporter.stage("evaluate", "judging pictures")
            if known is not None:
                pictures = evaluation.labelled_pictures(
                    session, known, images or "", parallelism=slots
                )
            else:
                pictures = evaluation.split_pictures(
                    session, snapshot or "", split, parallelism=slots
                )
            judged = evaluation.judge_bundles(pictures, {"bundle": bundle})["bundle"]
        figures = judged.evaluation.model_dump(mode="json") | {
            "images_per_s": judged.images_per_s,
            "skipped": dict(judged.skipped),
            "master": master,
        }
        if predictions:
            _write_json(predictions, evaluation.coco_rows(pictures, judged.found))
        if report:
            _write_json(report, figures)
        if judged.skipped:
            reporter.note(f"warning: {len(judged.skipped)} pictures could not be read")
        reporter.done(
            f"mAP@0.5 {_figure(judged.evaluation.map50)}, mAP {_figure(judged.evaluation.map)} on "
            f"{judged.evaluation.num_images} pictures, {judged.images_per_s} images/s",
            **figures,
        )


@app.command()
def export(
    *,
    run: Annotated[Path, typer.Option(help="Folder of a finished fit.")],
    bundle: Annotated[Path, typer.Option(help="Bundle to write.")],
    compare: Annotated[Path | None, typer.Option(help="Running bundle to judge as well.")] = None,
    master: Master = "local[*]",
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Quantize a finished fit, measure the INT8 file and write the bundle."""
    with _reporting(as_json) as reporter:
        from models.training.release_candidate import check_bundle_dir, read_run

        check_bundle_dir(bundle)
        read_run(run)
        with _session(reporter, master, workers, run) as session:
            _finish(session, run, bundle, compare, reporter)


@app.command("run")
def run_command(
    *,
    snapshot: SnapshotUrl,
    bundle: Annotated[Path, typer.Option(help="Bundle to write.")],
    run: Annotated[Path | None, typer.Option(help="Folder of the run.")] = None,
    init: Init = "imagenet",
    name: Name = None,
    budget: Annotated[str, typer.Option(help="Wall time of everything.")] = "45m",
    compare: Annotated[Path | None, typer.Option(help="Running bundle to judge as well.")] = None,
    steps: Steps = None,
    batch: Batch = None,
    seed: Seed = 0,
    resume: Resume = False,
    learning_rate: LearningRate = None,
    input_size: InputSize = None,
    width: WidthMultiplier = 1.0,
    levels: Levels = None,
    neck: Neck = "fpnlite",
    master: Master = "local[*]",
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Fit, quantize, measure on the locked pictures, and write the bundle."""
    with _reporting(as_json) as reporter:
        from models.training.release_candidate import check_bundle_dir

        check_bundle_dir(bundle)
        run = run or bundle.with_name(f"{bundle.name}.run")
        total = _seconds(budget) or 0.0
        low, high = RESERVE_RANGE_S
        reserve = min(high, max(low, total * RESERVE_RATIO))
        asked = _fit_request(locals(), budget_s=max(total - reserve, 1.0))
        with _session(reporter, master, workers, run) as session:
            _fit(session, asked, reporter)
            _finish(session, run, bundle, compare, reporter)


def main() -> None:
    """Entry point; the exit code says whose fault it was (2: the caller's, 1: ours)."""
    signal.signal(signal.SIGTERM, _interrupt)
    app()


def _fit(session: Any, asked: Any, reporter: Reporter) -> Any:  # noqa: ANN401 - late imports
    from models.training import fit as fitting

    workers = asked.workers
    reporter.stage("fit", f"training on {workers} worker{'s' if workers > 1 else ''}")
    return fitting.fit(session, asked, reporter.progress)


def _finish(
    session: Any,  # noqa: ANN401 - late import
    run_dir: Path,
    bundle: Path,
    compare: Path | None,
    reporter: Reporter,
) -> None:
    """Everything after the fit."""
    from models.training import release_candidate as release
    from models.training import spark_session

    finished = release.read_run(run_dir)
    made = run_dir / "bundle.part"
    reporter.stage("export", "quantizing")
    pictures = release.choose_pictures(session, finished.state.snapshot_url)
    facts = release.export_run(finished, made, pictures)
    reporter.stage("evaluate", "measuring the INT8 model")
    judged, split = release.judge_candidate(
        session, finished, made, compare, parallelism=spark_session.total_slots(session)
    )
    manifest = release.seal_bundle(made, facts, judged, pictures)
    release.put_in_place(made, bundle)
    report = release.report_of(finished, manifest, judged, split)
    _write_json(run_dir / "report.json", report)
    reporter.done(
        f"bundle {manifest.bundle_id} in {bundle}: INT8 mAP@0.5 "
        f"{_figure(report['candidate']['map50'])} (float {_figure(report['float']['map50'])}"
        + (f", running {_figure(report['running']['map50'])}" if report["running"] else "")
        + f") on {report['candidate']['num_images']} {split.value} pictures",
        bundle=str(bundle),
        bundle_id=manifest.bundle_id,
        report=report,
    )


def _fit_request(options: dict[str, Any], *, budget_s: float | None) -> Any:  # noqa: ANN401
    from models.training.auto_spec import SpecWishes
    from models.training.fit import FitRequest

    wanted = {
        "steps": options["steps"],
        "batch": options["batch"],
        "learning_rate": options["learning_rate"],
        "seed": options["seed"],
    }
    width, height = _size(options["input_size"])
    init, run_dir = options["init"], options["run"]
    bundle = options.get("bundle")
    return FitRequest(
        snapshot_url=options["snapshot"],
        init=init,
        run_dir=run_dir,
        name=options["name"] or _model_name(init, bundle or run_dir),
        workers=options["workers"] or 1,
        budget_s=None if options["steps"] else budget_s,
        overrides={name: value for name, value in wanted.items() if value is not None},
        wishes=SpecWishes(
            width, height, options["width"], _strides(options["levels"]), options["neck"]
        ),
        resume=options["resume"],
    )


def _model_name(init: str, folder: Path) -> str:
    """The parent's name, else the folder's, in the letters that a name may have."""
    from models.contract.bundle import read_manifest

    if Path(init).is_dir():
        return read_manifest(Path(init)).name
    plain = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    return plain[:64] or "detector"


@contextmanager
def _session(
    reporter: Reporter, master: str, workers: int | None, run: Path | None
) -> Iterator[Any]:
    from models.training.spark_session import open_session

    log = None
    if run is not None:
        try:
            run.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--run {run}: {error.strerror}") from error
        log = run / SPARK_LOG
    reporter.stage("start", f"starting Spark on {master}")
    with open_session(master, min_slots=workers or 1, log=log) as session:
        yield session


@contextmanager
def _reporting(as_json: bool) -> Iterator[Reporter]:
    """Turn every expected failure into one line and an exit code."""
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
            reporter.error(str(error).strip().splitlines()[0])
            raise typer.Exit(RunFailedError.exit_code) from error
        except KeyboardInterrupt as error:
            reporter.error("interrupted; the same command goes on from the last checkpoint")
            raise typer.Exit(130) from error


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature
    raise KeyboardInterrupt


def _one_for_each(splits: list[str], labels: list[Path]) -> list[str]:
    if len(splits) == 1:
        splits = splits * len(labels)
    if len(splits) != len(labels):
        raise InputError(f"{len(labels)} --labels need one --split or as many, not {len(splits)}")
    for split in splits:
        if split not in ("auto", "train", "val", "locked"):
            raise InputError(f"--split {split}: use auto, train, val or locked")
    return splits


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise InputError(f"--budget {error}") from error


def _size(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found:
        raise InputError(f"--input-size {text!r}: write it as 320x256 (width x height)")
    return int(found.group(1)), int(found.group(2))


def _strides(text: str | None) -> tuple[int, ...] | None:
    try:
        return tuple(int(part) for part in text.split(",")) if text else None
    except ValueError as error:
        raise InputError(f"--levels {text!r}: write strides such as 8,16,32") from error


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()

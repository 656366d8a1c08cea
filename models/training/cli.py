"""``sightline-train``: pictures in, a measured model bundle out, all on Spark."""

import json
from pathlib import Path
from typing import Annotated

import typer

from models.contract.bundle import read_manifest
from models.training import cli_fit, cli_predict, cli_preview
from models.training import cli_options as options
from models.training.cli_session import interruption, open_session, reporting
from models.training.errors import InputError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Import labelled pictures, fit, evaluate and export a detector on Spark.",
)
app.command("fit")(cli_fit.fit)
app.command("export")(cli_fit.export)
app.command("run")(cli_fit.run)
app.command("predict")(cli_predict.predict)
app.command("preview")(cli_preview.preview)


@app.command("import")
def import_command(
    *,
    labels: Annotated[list[Path], typer.Option(help="Label file or folder; may be repeated.")],
    images: Annotated[str, typer.Option(help="Folder or URL of the pictures.")],
    snapshot: options.SnapshotUrl,
    label_format: Annotated[str, typer.Option("--format", help="coco, yolo or voc.")] = "coco",
    split: Annotated[
        list[str] | None,
        typer.Option(help="auto, train, val or locked: for all labels, or one for each."),
    ] = None,
    categories: Annotated[
        str, typer.Option(help="Categories to import, by commas; boxes of others are refused.")
    ] = "",
    objects: Annotated[str, typer.Option(help="Categories that are wanted, by commas.")] = "",
    defects: Annotated[str, typer.Option(help="Categories that are defects, by commas.")] = "",
    master: options.Master = "local[*]",
    workers: options.Workers = None,
    as_json: options.Json = False,
) -> None:
    """Check labelled pictures and write them as an immutable snapshot."""
    with reporting(as_json) as reporter:
        from models.training import dataset_formats, placing, spark_pipeline, spark_session

        splits = options.one_for_each(split or [placing.AUTO_SPLIT], labels)
        wanted = {"objects": options.names(objects), "defects": options.names(defects)}
        wanted["categories"] = options.names(categories)
        sources = [
            spark_pipeline.ImportSource(
                dataset_formats.read_labels(label_format, path, **wanted), images, chosen, path.name
            )
            for path, chosen in zip(labels, splits, strict=True)
        ]
        options.check_known(
            [*wanted["objects"], *wanted["defects"]],
            [category.name for source in sources for category in source.labels.categories],
        )
        spark_pipeline.check_sources(sources, snapshot)
        with open_session(reporter, master, workers, reuse_workers=True) as session:
            slots = workers or spark_session.total_slots(session)
            reporter.stage("import", "checking pictures")
            report = spark_pipeline.import_snapshot(
                session, sources, snapshot, parallelism=slots, listener=reporter.progress
            )
        reporter.done(report.text(), **report.facts())


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
    card: Annotated[Path | None, typer.Option(help="Write a model card into this folder.")] = None,
    master: options.Master = "local[*]",
    workers: options.Workers = None,
    as_json: options.Json = False,
) -> None:
    """Judge a bundle's INT8 file on the executors, with pycocotools' numbers."""
    with reporting(as_json) as reporter:
        from models.training import dataset_formats, evaluate, picture_files, spark_session
        from models.training.evaluate import judge_bundles
        from models.training.evaluation_card import look_closely, write_evaluation_card

        known = None
        if labels is not None and images is not None and snapshot is None:
            known = picture_files.with_file_names(
                dataset_formats.read_labels(label_format, labels), images
            )
        elif labels is not None or images is not None or snapshot is None:
            raise InputError("say what to judge on: --labels and --images, or --snapshot")
        evaluate.check_bundle(bundle)
        with open_session(reporter, master, workers, reuse_workers=True) as session:
            slots = workers or spark_session.total_slots(session)
            reporter.stage("evaluate", "judging pictures")
            pictures = (
                evaluate.labelled_pictures(session, known, images or "", parallelism=slots)
                if known is not None
                else evaluate.split_pictures(session, snapshot or "", split, parallelism=slots)
            )
            judged = judge_bundles(pictures, {"bundle": bundle})["bundle"]
            look = look_closely(read_manifest(bundle), pictures, judged)
            if card:
                write_evaluation_card(card, bundle, pictures, judged, look)
        figures = evaluate.figures_of(judged) | {"master": master}
        if predictions:
            write_json(predictions, evaluate.coco_rows(pictures, judged.found))
        if report:
            write_json(report, look.figures | figures)
        if judged.skipped:
            reporter.note(f"warning: {len(judged.skipped)} pictures could not be read")
        reporter.done(
            f"mAP@0.5 {cli_fit.figure(judged.evaluation.map50)}, mAP "
            f"{cli_fit.figure(judged.evaluation.map)} on {judged.evaluation.num_images} pictures, "
            f"{judged.images_per_s} images/s",
            **figures,
        )


def write_json(path: Path, value: object) -> None:
    """Write a file for machines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def main() -> None:
    """Entry point; the exit code says whose fault it was (2: the caller's, 1: ours)."""
    interruption.listen()
    app()


if __name__ == "__main__":
    main()

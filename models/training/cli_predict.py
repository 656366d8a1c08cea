"""``sightline-train predict``: what a bundle finds in a folder, a snapshot or a stream."""

from pathlib import Path
from typing import Annotated, Any

import typer

from models.contract.snapshot import Split
from models.training import cli_options as options
from models.training.cli_session import open_session, reporting
from models.training.errors import InputError


def predict(
    *,
    bundle: Annotated[Path, typer.Option(help="Bundle to look with.")],
    out: Annotated[str, typer.Option(help="Folder or URL of the answers, as Parquet.")],
    images: Annotated[str | None, typer.Option(help="Folder or URL of pictures.")] = None,
    snapshot: Annotated[str | None, typer.Option(help="A snapshot instead.")] = None,
    split: Annotated[str, typer.Option(help="Split of the snapshot, or all.")] = "all",
    stream: Annotated[
        str | None, typer.Option(help="Folder or URL to which pictures come; until stopped.")
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="End the stream when all that is there is done.")
    ] = False,
    batch: Annotated[int, typer.Option(min=1, help="Most pictures of a stream's batch.")] = 256,
    master: options.Master = "local[*]",
    workers: options.Workers = None,
    as_json: options.Json = False,
) -> None:
    """Run a bundle's INT8 file over pictures on the executors and write what it finds."""
    with reporting(as_json) as reporter:
        from models.training import evaluate, predict, predict_stream
        from models.training.picture_files import check_folder

        if sum(source is not None for source in (images, snapshot, stream)) != 1:
            raise InputError("say what to look at: --images, --snapshot or --stream")
        if once and stream is None:
            raise InputError("--once goes with --stream")
        evaluate.check_bundle(bundle)
        if stream is not None:
            check_folder(stream, option="--stream")
            predict_stream.check_stream(stream, out)
        else:
            predict.check_new(out)
        with open_session(reporter, master, workers, reuse_workers=True) as session:
            if stream is not None:
                reporter.stage("predict", f"looking at what comes to {stream}")
                done = predict_stream.predict_stream(
                    session,
                    stream,
                    bundle,
                    out,
                    listener=reporter.progress,
                    once=once,
                    pictures_per_batch=batch,
                )
            else:
                rows, total = _rows(session, images, snapshot, split, workers)
                reporter.stage("predict", f"looking at {total} pictures")
                done = predict.predict(rows, total, bundle, out, reporter.progress)
        reporter.done(f"{done.text()}; in {out}", **done.facts(), out=out, master=master)


def _rows(
    session: Any,  # noqa: ANN401 - late import
    images: str | None,
    snapshot: str | None,
    split: str,
    workers: int | None,
) -> tuple[Any, int]:
    from models.training import picture_files, predict, spark_session

    if snapshot is not None:
        if split not in (*Split, "all"):
            raise InputError(f"--split {split}: use all, train, val or locked")
        splits = list(Split) if split == "all" else [Split(split)]
        return predict.rows_of_snapshot(session, snapshot, splits)
    slots = workers or spark_session.total_slots(session)
    folder = picture_files.list_pictures(images or "")
    return predict.rows_of_folder(session, folder, slots), len(folder.names)

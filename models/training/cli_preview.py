"""``sightline-train preview``: look at what a fit would see."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from models.training import cli_options as options
from models.training.cli_session import reporting

BUDGET = "45m"


def preview(
    *,
    snapshot: options.SnapshotUrl,
    out: Annotated[Path, typer.Option(help="Sheet to write, .jpg or .png.")],
    count: Annotated[int, typer.Option(min=1, max=400, help="Pictures on it.")] = 24,
    seed: options.Seed = 0,
    init: Annotated[str, typer.Option(help="As for a fit: a bundle knows its geometry.")] = (
        "imagenet"
    ),
    budget: Annotated[str, typer.Option(help="As for a fit: set-up depends on it.")] = BUDGET,
    batch: options.Batch = None,
    setting: options.Settings = None,
    input_size: options.InputSize = None,
    levels: options.Levels = None,
    as_json: options.Json = False,
) -> None:
    """Draw the training pictures as a fit would vary them, with their boxes."""
    with reporting(as_json) as reporter:
        from models.training.auto_setup import Wishes
        from models.training.preparation import FitRequest
        from models.training.preview import make_sheet, write_sheet
        from models.training.snapshot_io import read_manifest

        read_manifest(snapshot)
        with tempfile.TemporaryDirectory(prefix="sightline-preview-") as folder:
            request = FitRequest(
                snapshot_url=snapshot,
                init=init,
                run_dir=Path(folder),
                name="preview",
                workers=1,
                budget_s=options.seconds(budget),
                overrides=options.settings(setting or (), batch=batch, seed=seed),
                wishes=Wishes(*options.size(input_size), levels=options.strides(levels)),
            )
            reporter.stage("preview", "drawing training pictures")
            sheet, state = make_sheet(request, count)
        write_sheet(sheet, out)
        spec = state.train_spec
        drawn = ", ".join(f"{number} {name}" for name, number in sheet.boxes.items())
        reporter.done(
            f"{count} pictures of {spec.input_width}x{spec.input_height} in {out}: {drawn}",
            out=str(out),
            count=count,
            seed=seed,
            input_size=[spec.input_width, spec.input_height],
            boxes=sheet.boxes,
            cut=sheet.num_cut,
        )

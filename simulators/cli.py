"""``sightline-sim``: a simulated plant for demonstrations and tests."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from simulators.dataset import DatasetPlan, write_dataset
from simulators.parts import CLASSIC_DEFECTS, DEFECTS, Kind, SceneSettings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Simulated parts, cameras, PLCs, cells and lines; the demonstration of the whole loop.",
)
console = Console(stderr=True)

VARIANTS = ("a", "b", "c")


def refuse(message: str) -> typer.Exit:
    """Print a one-line error; raise what it returns."""
    typer.echo(f"error: {message}", err=True)
    return typer.Exit(2)


def parse_defects(text: str) -> tuple[Kind, ...]:
    """Defect kinds from a comma-separated list, ``all`` or ``none``."""
    if text == "all":
        return DEFECTS
    names = [name.strip() for name in text.split(",") if name.strip() not in {"", "none"}]
    known = {kind.value: kind for kind in DEFECTS}
    for name in names:
        if name not in known:
            raise refuse(f"unknown defect {name!r}; choose from {', '.join(known)}, all, none")
    return tuple(known[name] for name in names)


@app.callback()
def root() -> None:
    """Keep `dataset` a sub-command while it is the only one."""


@app.command()
def dataset(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write to.")],
    *,
    count: Annotated[int, typer.Option(min=1, help="Number of parts, one picture each.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same pictures.")] = 1,
    defects: Annotated[
        str, typer.Option(help="Kinds that may occur, comma-separated; or all, or none.")
    ] = ",".join(CLASSIC_DEFECTS),
    defect_rate: Annotated[float, typer.Option(min=0, max=1, help="Share of bad parts.")] = 0.6,
    variants: Annotated[
        str, typer.Option(help="Looks of the part: a bright, b milled grey, c dark coated.")
    ] = "a,b",
    lamp_ageing: Annotated[
        float, typer.Option(min=0, max=1, help="Age of the oldest lamp: 1 is dim and yellow.")
    ] = 0.3,
    width: Annotated[int, typer.Option(min=64, max=4096, help="Width, pixels.")] = 640,
    height: Annotated[int, typer.Option(min=64, max=4096, help="Height, pixels.")] = 512,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Pictures at a time.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line on stdout.")] = False,
) -> None:
    """Render parts with exact boxes: OUT/images/*.jpg and OUT/coco.json."""
    looks = tuple(name.strip() for name in variants.split(",") if name.strip())
    for look in looks:
        if look not in VARIANTS:
            raise refuse(f"unknown variant {look!r}; choose from {', '.join(VARIANTS)}")
    plan = DatasetPlan(
        count=count,
        seed=seed,
        defects=parse_defects(defects),
        defect_rate=defect_rate,
        variants=looks or ("a",),
        max_lamp_ageing=lamp_ageing,
        scene=SceneSettings(width_px=width, height_px=height),
    )
    try:
        with _progress() as progress:
            task = progress.add_task("rendering", total=count)
            coco = write_dataset(
                folder,
                plan,
                processes=processes,
                on_progress=lambda done: progress.update(task, completed=done),
            )
    except OSError as error:
        raise refuse(f"cannot write {folder}: {error.strerror or error}") from error
    if as_json:
        typer.echo(json.dumps({"event": "done", "labels": str(coco), "images": count}))
    else:
        typer.echo(f"{count} pictures in {folder / 'images'}, boxes in {coco}")


def _progress() -> Progress:
    """A bar on a terminal, nothing elsewhere."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def main() -> None:
    """Entry point of the command."""
    app()

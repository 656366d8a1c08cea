"""``sightline-edge teach``: a first recipe from a few good parts."""
# ruff: noqa: PLC0415 - `--help` must not wait for OpenVINO

import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import models
from edge_agent.errors import ConfigurationError
from edge_agent.settings import Settings, load_settings

if TYPE_CHECKING:
    from edge_agent.classroom import Lesson

GRAB_TIMEOUT_S = 5.0
RELEASED_BUNDLE = Path(models.__file__).parent / "released" / "plate"
EXIT_NOT_OK = 1


def teach(
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The recipe to write (TOML).")],
    images: Annotated[
        Path | None,
        typer.Option(
            help="Pictures of good parts; a subfolder for each view, if there are several."
        ),
    ] = None,
    camera: Annotated[
        bool, typer.Option("--camera", help="Take the pictures with the configured camera.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The agent's TOML file, for --camera.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", "-b", help="Folder of the model bundle.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Pictures to take with --camera.")] = 5,
    recipe_id: Annotated[
        str | None, typer.Option(help="Name of the recipe; the file's when not given.")
    ] = None,
    part_type: Annotated[str | None, typer.Option(help="The recipe's name when not given.")] = None,
    deadline_ms: Annotated[int, typer.Option(min=10, max=60_000, help="For a verdict.")] = 500,
    force: Annotated[bool, typer.Option("--force", help="Write over an existing recipe.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Draft a recipe from good parts: what is always there is expected, every defect forbidden.

    Beside the recipe it writes an overlay picture for each view: look at it, then edit the recipe.
    """
    from edge_agent.classroom import give_lesson

    settings = load_settings(config) if config is not None else None
    if out.exists() and not force:
        raise ConfigurationError(
            f"{out} exists: choose another --out, or write over it with --force"
        )
    if (images is None) is not camera:
        raise ConfigurationError(
            "give the good parts with --images DIR, or take them with --camera"
        )
    name = recipe_id or _name_from(out)
    folder = images or _take_pictures(settings, out, count, is_quiet=as_json)
    lesson = give_lesson(
        folder,
        bundle=bundle or _bundle_of(settings),
        out=out,
        recipe_id=name,
        part_type=part_type or name,
        deadline_ms=deadline_ms,
    )
    if as_json:
        typer.echo(json.dumps(lesson.as_dict()))
    else:
        _print(lesson)
    if lesson.num_ok < lesson.num_pictures:
        raise typer.Exit(EXIT_NOT_OK)


def _name_from(out: Path) -> str:
    """The file's name, as far as a recipe may be called so."""
    stem = out.name.removesuffix(".toml").removesuffix(".recipe")
    return re.sub(r"[^A-Za-z0-9_\-]+", "-", stem).strip("-_")[:64] or "recipe"


def _bundle_of(settings: Settings | None) -> Path:
    configured = settings.model.bundle if settings is not None else None
    return configured or RELEASED_BUNDLE


def _take_pictures(settings: Settings | None, out: Path, count: int, *, is_quiet: bool) -> Path:
    """Take pictures of good parts, one after Enter; without a terminal, one a second."""
    if settings is None:
        raise ConfigurationError("--camera needs --config, the agent's TOML file with [camera]")
    import cv2

    from edge_agent.adapters.cameras import make_camera

    folder = out.with_name(f"{out.name}.pictures")
    folder.mkdir(parents=True, exist_ok=True)
    for left_over in folder.glob("*.png"):
        left_over.unlink()
    camera = make_camera(settings.camera)
    camera.open()
    try:
        for number in _turns(count, is_quiet=is_quiet):
            frame = camera.grab(GRAB_TIMEOUT_S)
            cv2.imwrite(str(folder / f"{number:03}.png"), frame.image)
    finally:
        camera.close()
    return folder


def _turns(count: int, *, is_quiet: bool) -> Iterator[int]:
    is_asked = sys.stdin.isatty() and not is_quiet
    for number in range(1, count + 1):
        if is_asked:
            typer.prompt(f"good part {number} of {count} in place? Enter", "", show_default=False)
        elif number > 1:
            time.sleep(1.0)
        yield number


def _print(lesson: "Lesson") -> None:
    for view in lesson.recipe.views:
        typer.echo(
            f"view {view.name}: {len(view.expected)} objects expected, "
            f"{len(view.forbidden)} defects forbidden"
        )
    for doubt in lesson.doubts:
        typer.echo(f"look: {doubt}")
    for name, cause in lesson.refused.items():
        typer.echo(f"not ok: {name}: {cause}")
    typer.echo(f"{lesson.num_ok} of {lesson.num_pictures} pictures are OK by {lesson.out}")
    typer.echo("look at " + ", ".join(str(path) for path in lesson.overlays))

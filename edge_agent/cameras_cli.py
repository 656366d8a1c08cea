"""``sightline-edge cameras``: what is there, and a picture of each."""
# ruff: noqa: PLC0415 - `--help` must not wait for OpenCV

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_agent.errors import ConfigurationError, EdgeAgentError
from edge_agent.settings import Settings, load_settings

if TYPE_CHECKING:
    from edge_agent.adapters.camera_finder import Search
    from edge_agent.ports import Camera, Frame
    from edge_agent.sections import CameraSettings
    from models.contract.recipe import View

GRAB_TIMEOUT_S = 3.0
NAMING_KEYS = ("kind", "source", "producer", "path")


@dataclass(slots=True)
class Finding:
    """One camera, as it is told to a person or a machine."""

    way: str
    model: str
    address: str
    camera: dict[str, Any]
    """What stands in ``[camera]``."""
    picture: str | None = None
    width: int | None = None
    height: int | None = None
    mean_grey: float | None = None
    grab_ms: float | None = None
    view: str | None = None
    fault: str | None = None
    settings: "CameraSettings | None" = field(default=None, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; what is not known is left out."""
        slots = (name for name in self.__slots__ if name != "settings")
        return {name: getattr(self, name) for name in slots if getattr(self, name) is not None}


def cameras(
    *,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Show the configured camera too, view by view."),
    ] = None,
    grab: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Take a picture with each into DIR.")
    ] = None,
    producer: Annotated[
        list[Path] | None, typer.Option(help="A GenTL producer (.cti) to ask as well.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """List the cameras that are found, and grab a picture of each."""
    from edge_agent.adapters.camera_finder import search_all

    settings = load_settings(config) if config is not None else None
    searches = search_all(producers=tuple(producer or ()))
    findings = [*_configured(settings), *_found(searches)]
    if grab is not None:
        try:
            grab.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"--grab {grab} cannot be made: {error.strerror}") from error
        findings = [one for finding in findings for one in _with_pictures(finding, grab, settings)]
    obstacles = {search.way: search.obstacle for search in searches if search.obstacle}
    if as_json:
        told = {"cameras": [finding.as_dict() for finding in findings], "not_asked": obstacles}
        typer.echo(json.dumps(told))
    else:
        _print(findings, obstacles)
    if any(finding.fault for finding in findings if finding.way == "configured"):
        raise typer.Exit(1)


def _configured(settings: Settings | None) -> list[Finding]:
    if settings is None:
        return []
    camera = settings.camera
    return [Finding("configured", "", "", _naming(camera), settings=camera)]


def _found(searches: "list[Search]") -> list[Finding]:
    return [
        Finding(
            search.way,
            candidate.model,
            candidate.address,
            _naming(candidate.settings),
            settings=candidate.settings,
        )
        for search in searches
        for candidate in search.candidates
    ]


def _naming(settings: "CameraSettings") -> dict[str, Any]:
    values = settings.model_dump(mode="json", include=set(NAMING_KEYS), exclude_none=True)
    return {key: values[key] for key in NAMING_KEYS if key in values}


def _with_pictures(finding: Finding, folder: Path, settings: Settings | None) -> list[Finding]:
    """The finding with its picture; the configured camera once for each view of its recipe."""
    from edge_agent.adapters.cameras import make_camera

    if finding.settings is None:
        return [finding]
    try:
        camera = make_camera(finding.settings)
        camera.open()
    except EdgeAgentError as error:
        finding.fault = str(error)
        return [finding]
    try:
        if finding.way != "configured" or settings is None:
            name = "-".join(str(value) for key, value in finding.camera.items() if key != "path")
            return [_grabbed(finding, camera, folder / f"{_file_name(name)}.png")]
        return [
            _grabbed(finding, camera, folder / f"configured-{view.name}.png", view)
            for view in _views(settings)
        ]
    finally:
        camera.close()


def _views(settings: Settings) -> "tuple[View, ...]":
    from edge_agent.recipes import RecipeBook

    book = RecipeBook.read(settings.recipe.path, settings.recipe.store)
    return book.choose(settings.recipe.selected).views


def _grabbed(finding: Finding, camera: "Camera", path: Path, view: "View | None" = None) -> Finding:
    import cv2

    told = Finding(finding.way, finding.model, finding.address, finding.camera)
    told.view = view.name if view else None
    try:
        camera.configure(view.camera_features if view else {})
        before = time.monotonic()
        frame: Frame = camera.grab(GRAB_TIMEOUT_S)
        told.grab_ms = round((time.monotonic() - before) * 1000, 1)
    except EdgeAgentError as error:
        told.fault = str(error)
        return told
    told.height, told.width = frame.image.shape[:2]
    told.mean_grey = round(float(frame.image.mean()), 1)
    if cv2.imwrite(str(path), frame.image):
        told.picture = str(path)
    else:
        told.fault = f"{path} cannot be written"
    return told


def _file_name(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in text)


def _print(findings: list[Finding], obstacles: dict[str, str]) -> None:
    for finding in findings:
        typer.echo("  ".join(filter(None, (finding.way, finding.model, finding.address))))
        naming = ", ".join(f'{key} = "{value}"' for key, value in finding.camera.items())
        typer.echo(f"    [camera]  {naming}")
        if finding.fault:
            typer.echo(f"    fault     {finding.fault}")
        elif finding.picture:
            typer.echo(f"    picture   {_picture_text(finding)}")
    if not findings:
        typer.echo("no camera was found")
    for way, obstacle in obstacles.items():
        typer.echo(f"{way}: not asked, {obstacle}")


def _picture_text(finding: Finding) -> str:
    view = f"view {finding.view}: " if finding.view else ""
    size = f"{finding.width} x {finding.height}"
    return f"{view}{finding.picture}, {size}, mean grey {finding.mean_grey}, {finding.grab_ms} ms"

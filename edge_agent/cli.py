"""Command line of the edge agent."""
# ruff: noqa: PLC0415 - a command loads only what it needs: `--help` must not wait for OpenVINO

import json
import logging
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer
from rich.console import Console
from rich.table import Table

import models
from edge_agent.cameras_cli import cameras
from edge_agent.errors import ConfigurationError, EdgeAgentError, ModelFault
from edge_agent.monitor_cli import monitor
from edge_agent.settings import load_settings
from edge_agent.teach_cli import teach
from edge_agent.telemetry import start_logging

if TYPE_CHECKING:
    from edge_agent.bench import BenchReport

RELEASED_BUNDLE = Path(models.__file__).parent / "released" / "plate"
EXIT_FAILED = 1
EXIT_WRONG_INPUT = 2

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The agent of one robot cell: inspects parts, answers the PLC, learns from the cloud.",
)
P = ParamSpec("P")

Config = Annotated[Path, typer.Option("--config", "-c", help="The agent's TOML file.")]
Bundle = Annotated[Path, typer.Option("--bundle", "-b", help="Folder of the model bundle.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Threads of the inference.")]


def main() -> None:
    """Entry point of ``sightline-edge``."""
    app()


def one_line_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Tell a person in one line what to do, instead of a traceback."""

    @wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except EdgeAgentError as error:
            typer.echo(f"sightline-edge: {error}", err=True)
            # A bundle that cannot be used is wrong input here; in service `run` falls back.
            wrong = isinstance(error, ConfigurationError | ModelFault)
            raise typer.Exit(EXIT_WRONG_INPUT if wrong else EXIT_FAILED) from error

    return wrapper


@app.command()
@one_line_errors
def run(config: Config) -> None:
    """Inspect parts until SIGTERM or Ctrl-C; the running part is finished and recorded."""
    settings = load_settings(config)
    start_logging(level=settings.logging.level, as_json=settings.logging.format == "json")
    from edge_agent.agent import run_agent

    if not run_agent(settings):
        logging.getLogger(__name__).error("a thread died or hangs: ending, to be restarted")
        raise typer.Exit(EXIT_FAILED)


@app.command("check-config")
@one_line_errors
def check_config(config: Config) -> None:
    """Print the settings in force, secrets masked, and say what would go wrong."""
    from edge_agent.preflight import check

    findings = check(load_settings(config))
    typer.echo(json.dumps(findings.settings, indent=2))
    for warning in findings.warnings:
        typer.echo(f"warning: {warning}", err=True)
    recipe, manifest = findings.recipe, findings.manifest
    model = f"{manifest.name} {manifest.bundle_id}" if manifest else "none yet"
    typer.echo(f"ok: recipe {recipe.recipe_id} v{recipe.version}, model {model}", err=True)


app.command()(one_line_errors(monitor))
app.command()(one_line_errors(cameras))
app.command()(one_line_errors(teach))


@app.command()
@one_line_errors
def infer(
    images: Annotated[list[Path], typer.Argument(help="Pictures.", metavar="IMG...")],
    bundle: Bundle = RELEASED_BUNDLE,
    min_score: Annotated[
        float | None, typer.Option(min=0, max=1, help="Instead of the bundle's thresholds.")
    ] = None,
    threads: Threads = 1,
    as_json: AsJson = False,
) -> None:
    """Show what a model finds in pictures."""
    from edge_agent.adapters.detector import Loading, load_model
    from edge_agent.offline import look_at

    model = load_model(bundle, loading=Loading(num_threads=threads))
    console, num_failed = Console(), 0
    for path in images:
        try:
            found = look_at(path, model, min_score=min_score)
        except EdgeAgentError as error:
            num_failed += 1
            typer.echo(f"sightline-edge: {error}", err=True)
            continue
        if as_json:
            typer.echo(json.dumps(found))
        else:
            console.print(_table(found))
    if num_failed:
        raise typer.Exit(EXIT_WRONG_INPUT)


@app.command()
@one_line_errors
def bench(
    *,
    bundle: Bundle = RELEASED_BUNDLE,
    threads: Threads = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Times that both are measured.")] = 5,
    cycles: Annotated[int, typer.Option(min=10, help="Cycles in a round.")] = 100,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Folder of your camera's pictures; else the bundle's golden ones."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Time the agent's cycle beside the bare OpenVINO model."""
    from edge_agent.adapters.detector import Loading
    from edge_agent.bench import run_bench

    report = run_bench(
        bundle, loading=Loading(threads), rounds=rounds, cycles=cycles, pictures=pictures
    )
    if as_json:
        typer.echo(json.dumps(report.as_dict()))
        return
    Console().print(_bench_table(report))


def _bench_table(report: "BenchReport") -> Table:
    title = (
        f"model {report.bundle_id}, {report.num_threads} thread(s) an inference, "
        f"pictures of {report.picture_px[0]} x {report.picture_px[1]}, "
        f"medians of {report.rounds} x {report.cycles}"
    )
    table = Table("", "p50 ms", "p99 ms", "two at once, 1/s", title=title, title_justify="left")
    bare = (report.infer_ms_p50, report.infer_ms_p99, report.infer_per_s)
    whole = (report.cycle_ms_p50, report.cycle_ms_p99, report.cycle_per_s)
    table.add_row("bare OpenVINO infer()", *(f"{value:.2f}" for value in bare))
    table.add_row("grab, check, infer, judge", *(f"{value:.2f}" for value in whole))
    ratios = f"x {report.cycle_over_infer_ratio:.3f} (+{report.overhead_ms_p50:.2f} ms)"
    table.add_row("the latter by the former", ratios, "", f"x {report.throughput_ratio:.3f}")
    return table


def _table(found: dict[str, Any]) -> Table:
    title = f"{found['image']}  {found['inference_ms']} ms"
    table = Table("category", "score", "x, y, width, height", title=title, title_justify="left")
    for box in found["detections"]:
        table.add_row(box["category"], f"{box['score']:.3f}", ", ".join(map(str, box["bbox"])))
    return table


if __name__ == "__main__":
    sys.exit(app())

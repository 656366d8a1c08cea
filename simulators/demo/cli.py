"""``sightline-sim demo``: the whole loop on one machine."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from simulators.demo.plan import BASELINE, DemoPlan, Learning, Photographs
from simulators.demo.processes import StoppedError
from simulators.demo.report import Json
from simulators.demo.run import UnmetError, run_demo
from simulators.demo.story import ConsoleTeller
from simulators.errors import SimulatorError
from simulators.terminal import stop_requested

EXIT_UNMET = 1
EXIT_INTERRUPTED = 130
PHOTO_TIME_LIMIT_S = 30 * 60.0
PHOTO_AUDIT_RATIO = 0.3
"""A small album soon holds no surprise: without looking at good parts, few labels would come."""


def demo(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="End after one turn of the loop; exit 0 if all is well.")
    ] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the dashboard.")] = 8080,
    data_dir: Annotated[
        Path, typer.Option(help="Everything is kept here; a next start goes on where it was.")
    ] = Path("run/demo"),
    report: Annotated[Path, typer.Option(help="Where the report goes.")] = Path("demo-report.json"),
    images: Annotated[
        Path | None, typer.Option(help="Real photographs instead of rendered parts.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="COCO file with their true boxes.")] = None,
    defects: Annotated[
        str, typer.Option(help="Classes that make a photographed part bad, by commas.")
    ] = "",
    bundle: Annotated[Path, typer.Option(help="Bundle to begin with.")] = BASELINE,
    cadence: Annotated[
        float, typer.Option(min=0.05, help="Seconds between two parts of a cell.")
    ] = DemoPlan.cadence_s,
    budget: Annotated[
        str, typer.Option(help="Wall time of one retraining, such as 4m.")
    ] = Learning.budget,
    time_limit: Annotated[
        float | None, typer.Option(min=1, help="With --once: give up after this many minutes.")
    ] = None,
    setup_s: Annotated[
        float, typer.Option(min=0, help="What setting up took, for the report.", hidden=True)
    ] = 0.0,
) -> None:
    """Run the whole loop: two cells, cloud, labels, Spark retraining, signed model, hot swap.

    On one line a defect begins to appear that the model has never seen. Its misses and doubts are
    labelled, a retraining starts by itself, and the better model comes back down to the cells.
    Ctrl-C ends every process.
    """
    if (images is None) != (labels is None):
        raise SimulatorError("real photographs need both --images and --labels")
    plan = DemoPlan(
        data_dir=data_dir,
        port=port,
        report=report,
        once=once,
        setup_s=setup_s,
        bundle=bundle,
        cadence_s=cadence,
        learning=Learning(budget=budget),
    )
    if images is not None and labels is not None:
        names = tuple(name.strip() for name in defects.split(",") if name.strip())
        plan = with_photographs(plan, Photographs(images, labels, names))
    if time_limit is not None:
        plan = replace(plan, time_limit_s=time_limit * 60)
    _run(plan)


def with_photographs(plan: DemoPlan, photographs: Photographs) -> DemoPlan:
    """The plan for real pictures: few of them, and no promise by how much they help."""
    learning = replace(
        plan.learning,
        min_new_labels=20,
        min_per_new_category=0,
        min_map50_gain=0.0,
        max_class_drop=0.02,
        min_locked_images=5,
    )
    return replace(
        plan,
        photographs=photographs,
        learning=learning,
        audit_ratio=PHOTO_AUDIT_RATIO,
        time_limit_s=PHOTO_TIME_LIMIT_S,
    )


def _run(plan: DemoPlan) -> None:
    stop = stop_requested()
    teller = ConsoleTeller()
    try:
        report = run_demo(plan, teller=teller, stop=stop)
    except StoppedError as error:
        typer.echo("stopped; the next start goes on where it was", err=True)
        raise typer.Exit(EXIT_INTERRUPTED if plan.once else 0) from error
    except UnmetError as error:
        _summarize(error.report, plan)
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(EXIT_UNMET) from error
    finally:
        teller.close()
    _summarize(report, plan)


def _summarize(report: Json, plan: DemoPlan) -> None:
    before, after = report["map50_before"], report["map50_after"]
    learned = "no new model" if after is None else f"mAP@0.5 {before} before, {after} after"
    typer.echo(
        f"{report['parts']} parts, verdict p50 {report['verdict_ms']['p50']} ms,"
        f" p99 {report['verdict_ms']['p99']} ms; {report['records_made']} records made,"
        f" {report['records_in_cloud']} in the cloud; {report['labels']} labels; {learned};"
        f" {report['triggers_missed_during_swap']} triggers missed during the swap."
        + (f" Report: {plan.report}" if plan.report else "")
    )

"""``sightline-sim``: a simulated plant for demonstrations and tests."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from models.contract.model import ContractError
from models.contract.topics import CellAddress, Channel
from simulators.broker_link import BrokerAddress
from simulators.camera import CameraFault, MjpegCamera, SpoolCamera
from simulators.cell import SimulatedCell
from simulators.dataset import DatasetPlan, write_dataset
from simulators.demo.cli import demo
from simulators.drift import DriftSchedule
from simulators.errors import SimulatorError
from simulators.faults import NetworkProxy, send_garbage
from simulators.line import Line
from simulators.parts import CLASSIC_DEFECTS, SceneSettings
from simulators.plc import Plc, PlcSettings
from simulators.probe import PlcProbe
from simulators.rtsp import RtspCamera
from simulators.sources import RenderedSource
from simulators.terminal import (
    parse_defects,
    parse_variants,
    play_misbehaviours,
    progress_bar,
    report_statistics,
    silent,
    stop_requested,
    tell,
)
from simulators.truth import TruthBook

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Simulated parts, cameras, PLCs, cells and lines; the demonstration of the whole loop.",
)
faults = typer.Typer(no_args_is_help=True, help="Inject faults into real processes and brokers.")
app.add_typer(faults, name="faults")
app.command()(demo)

Broker = Annotated[str, typer.Option(help="The cell's MQTT broker, host:port.")]
Cell = Annotated[str, typer.Option(help="Address of the cell: site/area/line/cell.")]
Cadence = Annotated[float, typer.Option(min=0, help="Seconds between two parts.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same parts.")]
DefectKinds = Annotated[str, typer.Option(help="Kinds that may occur, comma-separated; or all.")]
DefectRate = Annotated[float, typer.Option(min=0, max=1, help="Share of bad parts.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout.")]

CLASSIC = ",".join(CLASSIC_DEFECTS)


@app.command()
def dataset(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write to.")],
    *,
    count: Annotated[int, typer.Option(min=1, help="Number of parts, one picture each.")] = 200,
    seed: Seed = 1,
    defects: DefectKinds = CLASSIC,
    defect_rate: DefectRate = 0.6,
    variants: Annotated[
        str, typer.Option(help="Looks of the part: a bright, b milled grey, c dark coated.")
    ] = "a,b",
    lamp_ageing: Annotated[
        float, typer.Option(min=0, max=1, help="Age of the oldest lamp: 1 is dim and yellow.")
    ] = 0.3,
    width: Annotated[int, typer.Option(min=64, max=4096, help="Width, pixels.")] = 640,
    height: Annotated[int, typer.Option(min=64, max=4096, help="Height, pixels.")] = 512,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Pictures at a time.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Render parts with exact boxes: OUT/images/*.jpg and OUT/coco.json."""
    plan = DatasetPlan(
        count=count,
        seed=seed,
        defects=parse_defects(defects),
        defect_rate=defect_rate,
        variants=parse_variants(variants),
        max_lamp_ageing=lamp_ageing,
        scene=SceneSettings(width_px=width, height_px=height),
    )
    try:
        with progress_bar() as progress:
            task = progress.add_task("rendering", total=count)
            coco = write_dataset(
                folder,
                plan,
                processes=processes,
                on_progress=lambda done: progress.update(task, completed=done),
            )
    except OSError as error:
        raise SimulatorError(f"cannot write {folder}: {error.strerror or error}") from error
    if as_json:
        typer.echo(json.dumps({"event": "done", "labels": str(coco), "images": count}))
    else:
        typer.echo(f"{count} pictures in {folder / 'images'}, boxes in {coco}")


@app.command()
def camera(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port on 127.0.0.1.")] = 8091,
    period: Annotated[float, typer.Option(min=0.02, help="Seconds between two frames.")] = 0.5,
    fault: Annotated[CameraFault, typer.Option(help="What is wrong with it.")] = CameraFault.NONE,
    rtsp: Annotated[bool, typer.Option("--rtsp", help="Stream over RTSP instead.")] = False,
    seed: Seed = 1,
    defects: DefectKinds = CLASSIC,
    defect_rate: DefectRate = 0.3,
) -> None:
    """Be a network camera over rendered parts: MJPEG at /, one picture at /snapshot.jpg."""
    schedule = DriftSchedule(known=parse_defects(defects), known_rate=defect_rate)
    source = RenderedSource("camera", "CAM", seed, schedule)
    make = RtspCamera if rtsp else MjpegCamera
    device = make(source, port=port, period_s=period)
    device.lens.fault = fault
    device.start()
    typer.echo(f"streaming on {device.url} (Ctrl-C ends)")
    stop_requested().wait()
    device.stop()


@app.command()
def plc(
    *,
    cell: Cell = "plant1/assembly/line1/cell1",
    broker: Broker = "127.0.0.1:1883",
    recipe: Annotated[str, typer.Option(help="Recipe that the triggers name.")] = "plate-a",
    view: Annotated[str, typer.Option(help="View that the triggers name.")] = "main",
    parts: Annotated[int, typer.Option(min=1, help="Number of parts.")] = 10,
    cadence: Cadence = 1.0,
    deadline_ms: Annotated[int, typer.Option(min=10, max=60000, help="Time for a verdict.")] = 1000,
    repeat_ratio: Annotated[
        float, typer.Option(min=0, max=1, help="Share of triggers sent twice.")
    ] = 0.0,
    acknowledge: Annotated[bool, typer.Option(help="Whether results are acknowledged.")] = True,
    misbehave: Annotated[
        str | None,
        typer.Option(help="Instead: break the handshake in these ways, comma-separated; or all."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Trigger inspections as a PLC does, without a camera of its own, and measure them."""
    if misbehave is not None:
        play_misbehaviours(
            PlcProbe(CellAddress.parse(cell), BrokerAddress.parse(broker), recipe_id=recipe),
            misbehave,
            as_json=as_json,
        )
        return
    settings = PlcSettings(
        recipe_id=recipe,
        view=view,
        deadline_ms=deadline_ms,
        repeat_ratio=repeat_ratio,
        acknowledges=acknowledge,
    )
    device = Plc(CellAddress.parse(cell), BrokerAddress.parse(broker), settings)
    device.start()
    stop = stop_requested()
    try:
        if not device.wait_station_ready(10):
            raise SimulatorError(
                f"cell {cell} is not ready: start it with sightline-edge run, or give --cell"
            )
        for number in range(parts):
            exchange = device.inspect(f"PLC-{number:06d}", stop=stop)
            if not as_json:
                answer = exchange.result.verdict if exchange.result else exchange.rejection
                typer.echo(f"{exchange.trigger.part_id} {answer or 'no answer'}")
            if stop.wait(cadence):
                break
        report_statistics({cell: device.statistics()}, as_json=as_json)
    finally:
        device.stop()


@app.command()
def line(
    *,
    spool: Annotated[
        list[Path], typer.Option(help="Folder of the cell's folder camera; one for each --cell.")
    ],
    cell: Annotated[list[str], typer.Option(help="Address of a cell; may be given again.")],
    broker: Broker = "127.0.0.1:1883",
    recipe: Annotated[str, typer.Option(help="Recipe that the triggers name.")] = "plate-a",
    parts: Annotated[int, typer.Option(min=0, help="Parts for each cell; 0 for no end.")] = 0,
    cadence: Cadence = 1.0,
    truth: Annotated[Path, typer.Option(help="Where the truth goes.")] = Path("run/truth.jsonl"),
    seed: Seed = 1,
    defects: DefectKinds = CLASSIC,
    defect_rate: DefectRate = 0.25,
    emerging: DefectKinds = "none",
    emerging_from: Annotated[int, typer.Option(min=0, help="First part that may have it.")] = 0,
    emerging_rate: DefectRate = 0.5,
    lamp_parts: Annotated[
        int, typer.Option(min=0, help="Parts over which the lamp grows old; 0 for never.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Run parts through cells that wait for them; the last cell gets the emerging defects."""
    if len(spool) != len(cell):
        raise SimulatorError(f"{len(cell)} --cell but {len(spool)} --spool: give one for each")
    book = TruthBook(truth)
    cells = []
    for number, (address, folder) in enumerate(zip(cell, spool, strict=True), start=1):
        schedule = DriftSchedule(
            known=parse_defects(defects),
            known_rate=defect_rate,
            emerging=parse_defects(emerging) if number == len(cell) else (),
            emerging_from=emerging_from,
            emerging_rate=emerging_rate,
            lamp_parts=lamp_parts,
        )
        device = Plc(
            CellAddress.parse(address), BrokerAddress.parse(broker), PlcSettings(recipe_id=recipe)
        )
        cells.append(
            SimulatedCell(
                RenderedSource(address, f"S{seed}C{number}", seed + 1000 * number, schedule),
                SpoolCamera(folder),
                device,
                book,
                cadence_s=cadence,
                on_cycle=silent if as_json else tell,
            )
        )
    stop = stop_requested()
    running = Line(cells, on_failure=lambda error: typer.echo(f"error: {error}", err=True))
    running.start(num_parts=parts or None)
    while not stop.wait(0.2) and not running.wait(0.01):
        pass
    running.stop()
    report_statistics({str(one.plc.cell): one.plc.statistics() for one in cells}, as_json=as_json)


@faults.command()
def garbage(
    *,
    cell: Cell = "plant1/assembly/line1/cell1",
    broker: Broker = "127.0.0.1:1883",
    count: Annotated[int, typer.Option(min=1, help="Number of messages.")] = 100,
    channel: Annotated[Channel, typer.Option(help="Channel that gets them.")] = Channel.EVENT,
    seed: Seed = 1,
) -> None:
    """Publish malformed messages: NaN, huge integers, deep nesting, wrong schema, noise."""
    sent = send_garbage(
        BrokerAddress.parse(broker),
        CellAddress.parse(cell),
        count=count,
        seed=seed,
        channel=channel,
    )
    typer.echo(f"{sent} malformed messages on {channel} of {cell} (seed {seed})")


@faults.command()
def network(
    *,
    target: Annotated[str, typer.Option(help="Where connections go, host:port.")],
    listen: Annotated[int, typer.Option(min=0, max=65535, help="Own port on 127.0.0.1.")] = 0,
    latency_ms: Annotated[float, typer.Option(min=0, help="Delay in each direction.")] = 0.0,
    bytes_per_s: Annotated[float, typer.Option(min=0, help="Limit; 0 for none.")] = 0.0,
    black_hole: Annotated[bool, typer.Option(help="Swallow everything, without RST.")] = False,
) -> None:
    """Stand between a client and a server and spoil the network."""
    proxy = NetworkProxy(BrokerAddress.parse(target), port=listen)
    proxy.conditions.latency_s = latency_ms / 1000
    proxy.conditions.bytes_per_s = bytes_per_s
    proxy.conditions.is_black_hole = black_hole
    proxy.start()
    typer.echo(f"127.0.0.1:{proxy.port} leads to {target} (Ctrl-C ends)")
    stop_requested().wait()
    proxy.stop()


def run(command: Callable[[], None]) -> None:
    """Run a command; what stops it becomes one line and exit code 2."""
    try:
        command()
    except (SimulatorError, ContractError) as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from error


def main() -> None:
    """Entry point of the command."""
    run(app)

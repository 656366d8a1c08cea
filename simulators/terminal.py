"""What the commands share: reading option values, telling people what happens, stopping."""

import json
import signal
import threading
from dataclasses import asdict
from types import FrameType
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.contract.messages import Verdict
from simulators.cell import CellCycle
from simulators.errors import SimulatorError
from simulators.handshake import PlcStatistics, percentile
from simulators.misbehaviour import MISBEHAVIOURS, misbehave
from simulators.parts import DEFECTS, Kind
from simulators.probe import PlcProbe

VARIANTS = ("a", "b", "c")
MAX_REASONS = 3
READY_TIMEOUT_S = 10.0

console = Console(stderr=True)


def parse_defects(text: str) -> tuple[Kind, ...]:
    """Defect kinds from a comma-separated list, ``all`` or ``none``.

    Raises:
        SimulatorError: a name is not known.
    """
    if text == "all":
        return DEFECTS
    names = [name.strip() for name in text.split(",") if name.strip() not in {"", "none"}]
    known = {kind.value: kind for kind in DEFECTS}
    for name in names:
        if name not in known:
            raise SimulatorError(
                f"unknown defect {name!r}: choose from {', '.join(known)}, all, none"
            )
    return tuple(known[name] for name in names)


def parse_variants(text: str) -> tuple[str, ...]:
    """Looks of the part from a comma-separated list.

    Raises:
        SimulatorError: a look is not known, or there is none.
    """
    looks = tuple(name.strip() for name in text.split(",") if name.strip())
    for look in looks or ("",):
        if look not in VARIANTS:
            raise SimulatorError(f"unknown variant {look!r}: choose from {', '.join(VARIANTS)}")
    return looks


def report_statistics(figures: dict[str, PlcStatistics], *, as_json: bool) -> None:
    """Print what each PLC has seen."""
    for address, seen in figures.items():
        p50, p99 = (percentile(seen.latencies_ms, share) for share in (0.5, 0.99))
        summary: dict[str, Any] = {
            "cell": address,
            "triggers": seen.triggers,
            "verdicts": {verdict.value: seen.verdicts.get(verdict, 0) for verdict in Verdict},
            "refused": {reason.value: count for reason, count in seen.refused.items()},
            "missed": seen.missed,
            "late": seen.late,
            "late_ok": seen.late_ok,
            "duplicates": seen.duplicates,
            "contradictions": seen.contradictions,
            "verdict_ms": {"p50": round(p50, 2), "p99": round(p99, 2)},
        }
        if as_json:
            typer.echo(json.dumps(summary))
        else:
            verdicts = ", ".join(f"{n} {name}" for name, n in summary["verdicts"].items())
            typer.echo(
                f"{address}: {seen.triggers} triggers, {verdicts}, {seen.missed} missed,"
                f" {seen.late} late; trigger to verdict p50 {p50:.1f} ms, p99 {p99:.1f} ms"
            )


def play_misbehaviours(plc: PlcProbe, names: str, *, as_json: bool) -> None:
    """Play misbehaviours against a cell and print what it did; exit code 1 where it fell short.

    Raises:
        SimulatorError: a name is not known, or the cell does not answer.
    """
    chosen = list(MISBEHAVIOURS) if names == "all" else [name.strip() for name in names.split(",")]
    for name in chosen:
        if name not in MISBEHAVIOURS:
            raise SimulatorError(
                f"unknown misbehaviour {name!r}: choose from {', '.join(MISBEHAVIOURS)}, all"
            )
    plc.start()
    has_failed = False
    try:
        if not plc.wait_ready(READY_TIMEOUT_S):
            raise SimulatorError(
                "the cell is not ready: start it with sightline-edge run, or give --cell"
            )
        for finding in misbehave(plc, chosen):
            has_failed |= bool(finding.faults)
            if as_json:
                typer.echo(json.dumps(asdict(finding)))
            else:
                verdict = "missing: " + "; ".join(finding.faults) if finding.faults else "ok"
                typer.echo(f"{finding.name}: must {finding.must}: {verdict}")
    finally:
        plc.stop()
    if has_failed:
        raise typer.Exit(1)


def stop_requested() -> threading.Event:
    """An event that Ctrl-C, SIGTERM or a closed terminal sets."""
    stop = threading.Event()

    def _set(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _set)
    return stop


def tell(cycle: CellCycle) -> None:
    """One line for a part."""
    result = cycle.exchange.result
    reasons = result.reasons[:MAX_REASONS] if result else ()
    note = " ESCAPE" if cycle.is_escape else " FALSE REJECT" if cycle.is_false_reject else ""
    words = "; ".join(reason.text or str(reason.code) for reason in reasons)
    typer.echo(f"{cycle.truth.cell} {cycle.truth.part_id} {cycle.verdict}{note} {words}".rstrip())


def silent(_cycle: CellCycle) -> None:
    """Say nothing per part."""


def progress_bar() -> Progress:
    """A bar on a terminal, nothing elsewhere."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )

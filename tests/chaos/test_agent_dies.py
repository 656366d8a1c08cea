"""Rows 4, 9, 20, 21: the agent is killed, its clock set, its PLC breaks the rules, power is cut."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Collection
from contextlib import closing, suppress
from pathlib import Path

import pytest

from models.contract.messages import PlcResult, Rejection, Trigger
from simulators.broker_link import BrokerAddress
from simulators.chaos.cloud import missing_and_doubled
from simulators.chaos.edge import CELL, EdgeAgent
from simulators.chaos.processes import ManagedProcess, wait_for
from simulators.chaos.stage import Stage
from simulators.chaos.toy_model import GOOD_GREY, toy_picture
from simulators.errors import SimulatorError
from simulators.misbehaviour import MISBEHAVIOURS, misbehave
from simulators.probe import PlcProbe

QUICK_HOLD = "resend_result_s = 0.2\nhold_result_s = 3.0"
SHORT_LIST = ("never_acks", "repeats_at_once", "triggers_while_busy", "reuses_an_id")
DEAD_PORT = 9
LOST_S = 60.0
RECORDED_S = 10.0


def recorded(path: Path) -> dict[str, str]:
    """Verdicts in an outbox, by result."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
        rows = database.execute("SELECT body FROM pending WHERE stream = 'records'").fetchall()
    bodies = [json.loads(body)["body"] for (body,) in rows]
    return {b["result_id"]: b["verdict"] for b in bodies if b["kind"] == "inspection"}


def repeat(port: int, trigger: Trigger) -> PlcResult | Rejection | None:
    """What a repeated trigger gets."""
    probe = PlcProbe(CELL, BrokerAddress("127.0.0.1", port), recipe_id="grey")
    probe.start()
    try:
        probe.send_trigger(trigger)
        probe.wait(lambda: bool(probe.answers(trigger.trigger_id).acks), 20)
        rejection = probe.answers(trigger.trigger_id).acks[0].rejection
        if rejection is not None:
            return rejection
        probe.wait(lambda: bool(probe.answers(trigger.trigger_id).results), 20)
        probe.acknowledge(trigger.trigger_id)
        return probe.answers(trigger.trigger_id).results[0]
    finally:
        probe.stop()


def test_agent_killed_at_any_moment_loses_no_verdict_and_repeats_its_answers(chaos: Stage) -> None:
    dice = random.Random(chaos.seed)  # noqa: S311 - when to kill
    broker = chaos.new_broker()
    edge: EdgeAgent = chaos.agent(broker.port, uplink_port=DEAD_PORT)
    line = chaos.line(broker.port, edge)
    times, slowest_s, boots = chaos.times(short=2, full=50), 0.0, set()
    for _ in range(times):
        line.wait_verdicts(3)
        time.sleep(dice.random() * 0.2)
        boots.add(line.plc.status and line.plc.status.boot_id)
        edge.process.kill()
        wait_for(lambda: not line.plc.is_station_ready, 20, "the last will")
        begin = time.monotonic()
        edge.process.start()
        wait_for(lambda: line.plc.is_station_ready, LOST_S, edge.process.log)
        slowest_s = max(slowest_s, time.monotonic() - begin)
    boots.add(line.plc.status and line.plc.status.boot_id)
    line.stop()
    answered = [e for e in line.plc.exchanges() if e.result is not None]
    last = answered[-1]
    again = repeat(broker.port, last.trigger)
    edge.process.stop()
    told = {str(e.result.result_id): str(e.result.verdict) for e in answered if e.result}
    kept = recorded(edge.outbox_path)
    assert {key: kept.get(key) for key in told} == told
    assert len(boots) == times + 1
    assert again == last.result
    promises = line.promises()
    assert promises.broken == 0
    assert slowest_s < (10.0 if chaos.is_timed else LOST_S)
    figure = f"{len(told)} verdicts, all recorded; Ready again in at most {slowest_s:.1f} s"
    chaos.row(4, "agent SIGKILL", times, "I1 I2 I3", figure)


def test_plc_that_breaks_the_handshake_gets_what_the_contract_says(chaos: Stage) -> None:
    broker = chaos.new_broker()
    camera = 'mode = "cycle"'
    edge = chaos.agent(
        broker.port, uplink_port=DEAD_PORT, station=QUICK_HOLD, camera=camera, is_started=False
    )
    edge.spool.mkdir()
    for number in range(7):  # a camera that shows the same picture for ever counts as broken
        (edge.spool / f"{number}.jpg").write_bytes(toy_picture(GOOD_GREY, number))
    edge.process.start()
    probe = PlcProbe(CELL, BrokerAddress("127.0.0.1", broker.port), recipe_id="grey")
    chaos.cleanups.append(probe.stop)
    probe.start()
    assert probe.wait_ready(LOST_S), edge.process.log
    names = list(MISBEHAVIOURS) if chaos.is_full else SHORT_LIST
    findings = list(misbehave(probe, names))
    assert {f.name: f.faults for f in findings} == dict.fromkeys(names, ())
    assert "Traceback" not in edge.process.log
    figure = f"{len(findings)} misbehaviours, all answered as the contract says"
    chaos.row(20, "PLC breaks the handshake", len(findings), "I3", figure)


STEPPING = """
import sys
from datetime import timedelta
from pathlib import Path
from edge_agent import clock
real = clock.SystemClock.now
step = Path(sys.argv.pop(1))
clock.SystemClock.now = lambda self: real(self) + timedelta(seconds=float(step.read_text()))
from edge_agent.cli import main
main()
"""


def test_clock_that_is_set_moves_no_order_and_no_duration(chaos: Stage) -> None:
    broker = chaos.new_broker()
    edge: EdgeAgent = chaos.agent(broker.port, uplink_port=DEAD_PORT, is_started=False)
    step = edge.folder / "step"
    step.write_text("0")
    arguments = ("-c", STEPPING, str(step), "run", "-c", str(edge.config))
    edge.process = ManagedProcess(arguments, edge.folder / "edge.log")
    chaos.cleanups.append(edge.process.kill)
    edge.process.start()
    line = chaos.line(broker.port, edge)
    steps = [3600, -3600, 3600, 0] if chaos.is_full else [3600, 0]
    for seconds in steps:
        # Whole or not at all: an agent that reads an empty file has no clock.
        step.with_suffix(".new").write_text(str(seconds))
        step.with_suffix(".new").replace(step)
        line.wait_verdicts(6)
        time.sleep(2.5)  # the agent looks at its clocks once a second
    line.stop()
    edge.process.stop()
    with closing(sqlite3.connect(edge.outbox_path)) as database:
        rows = database.execute(
            "SELECT body FROM pending WHERE stream='records' ORDER BY row_id"
        ).fetchall()
    events = [json.loads(body) for (body,) in rows]
    inspections = [event for event in events if event["body"]["kind"] == "inspection"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    order = [event["body"]["part_id"] for event in inspections]
    assert order == sorted(order)
    assert all(0 < event["body"]["processing_ms"] < 5_000 for event in inspections)
    told = [e["body"]["text"] for e in events if e["body"].get("code") == "clock_stepped"]
    assert len(told) == len(steps), told
    promises = line.promises()
    assert (promises.broken, promises.missed_connected) == (0, 0)
    chaos.row(9, "clock set by an hour", len(steps), "order, time", "; ".join(told))


def _may_mount() -> bool:
    return os.geteuid() == 0 and Path("/dev/loop-control").exists() and sys.platform == "linux"


@pytest.mark.skipif(not _may_mount(), reason="needs root and loop devices: the disk of a power cut")
def test_power_cut_leaves_every_answered_verdict_on_the_disk(chaos: Stage) -> None:
    """The copy of a mounted disk's image holds what was synced, and nothing that was not."""
    dice = random.Random(chaos.seed)  # noqa: S311 - when to cut
    image, mounted = chaos.folder / "disk.img", chaos.folder / "edge"
    mounted.mkdir()
    subprocess.run(["truncate", "-s", "160M", str(image)], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0", str(image)], check=True)
    if subprocess.run(["mount", "-o", "loop", str(image), str(mounted)], check=False).returncode:
        pytest.skip("this machine does not mount loop devices")
    chaos.cleanups.append(lambda: subprocess.run(["umount", "-l", str(mounted)], check=False))
    broker = chaos.new_broker()
    edge: EdgeAgent = chaos.agent(broker.port, uplink_port=DEAD_PORT)
    line = chaos.line(broker.port, edge, period_s=0.02)
    times, checked, unknown, image_after = chaos.times(short=2, full=20), 0, 0, image
    for cut in range(times):
        line.wait_verdicts(6)
        time.sleep(dice.random() * 0.3)
        told = {
            str(e.result.result_id): str(e.result.verdict)
            for e in line.plc.exchanges()
            if e.result is not None
        }
        image_after = chaos.folder / f"cut{cut}.img"
        # The moment of the cut: pages not synced are lost. The agent stands still, or the copy
        # would have the end of what it writes meanwhile and not the beginning.
        os.kill(edge.process.pid, signal.SIGSTOP)
        shutil.copyfile(image, image_after)
        os.kill(edge.process.pid, signal.SIGCONT)
        kept = _recover(chaos, image_after, f"after{cut}", told)
        assert set(told) <= set(kept), f"lost: {set(told) - set(kept)}"
        lost_verdicts = [key for key, verdict in told.items() if kept[key] != verdict]
        assert all(kept[key] == "not_decidable" for key in lost_verdicts)
        checked, unknown = checked + len(told), unknown + len(lost_verdicts)
        image_after.unlink()
    line.stop()
    figure = f"{checked} verdicts looked for, all there; {unknown} of them as unknown (aborted)"
    chaos.row(21, "power cut (unsynced writes dropped)", times, "I1", figure)


def _recover(chaos: Stage, image: Path, name: str, awaited: Collection[str]) -> dict[str, str]:
    """Start an agent on the disk as the power cut left it; what its outbox holds before long."""
    folder = chaos.folder / name
    folder.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=True)
    try:
        # Its own cell broker is away: it shall record what it finds, not answer anybody.
        edge = chaos.agent(DEAD_PORT, name=name, uplink_port=DEAD_PORT)
        wait_for(lambda: "agent started" in edge.process.log, LOST_S, edge.process.log)
        # Recorded on a thread that nothing waits for.
        with suppress(SimulatorError):
            wait_for(lambda: set(awaited) <= set(recorded(edge.outbox_path)), RECORDED_S, name)
        edge.process.kill()
        return recorded(edge.outbox_path)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_missing_and_doubled_records_are_told_apart() -> None:
    from collections import Counter

    made = {"aa-b": 3}
    assert missing_and_doubled(made, {"aab": Counter({1: 1, 2: 2})}) == (1, 1)

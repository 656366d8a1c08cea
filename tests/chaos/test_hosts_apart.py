"""Rows 2 and 3 with cell and cloud on hosts of their own: the line loses packets, then is cut."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulators.chaos.cloud import CloudIngest, missing_and_doubled
from simulators.chaos.lossy_line import THERE, LossyLine
from simulators.chaos.processes import ManagedProcess, wait_for
from simulators.chaos.stage import Stage

INSIDE = "SIGHTLINE_CHAOS_INSIDE"
"""In the namespace: the file that takes the figure of the report."""
PORT = 18830
KEEP_ALIVE_S = 4


def _may_part_hosts() -> bool:
    return os.geteuid() == 0 and Path("/dev/net/tun").exists() and bool(shutil.which("ip"))


@pytest.mark.skipif(not _may_part_hosts(), reason="needs root, ip and /dev/net/tun")
def test_hosts_apart(chaos: Stage) -> None:
    """The test below, in a network namespace of its own: no address of it is seen outside."""
    if not chaos.is_full:
        pytest.skip("in make chaos only: the proxy's black hole stands for it in make test")
    command = ["unshare", "--net", sys.executable, "-m", "pytest", "-q", "--timeout=600"]
    inside = f"{Path(__file__)}::test_line_that_loses_packets_and_is_cut_loses_no_record"
    figure = chaos.folder / "figure.txt"
    done = subprocess.run(
        [*command, inside],
        env=os.environ | {INSIDE: str(figure)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    chaos.row(3, "hosts apart: 5 % loss, then a cut line", 1, "I1 I2 I7", figure.read_text("utf-8"))


@pytest.mark.skipif(INSIDE not in os.environ, reason="run by test_hosts_apart")
def test_line_that_loses_packets_and_is_cut_loses_no_record(
    chaos: Stage, mosquitto_program: str
) -> None:
    line_between = LossyLine(seed=chaos.seed)
    chaos.cleanups.append(line_between.stop)
    config = chaos.folder / "there.conf"
    config.write_text(
        f"listener {PORT} 0.0.0.0\nallow_anonymous true\nset_tcp_nodelay true\n"
        "max_queued_messages 100000\nlog_type error\n"
    )
    broker = subprocess.Popen([*line_between.there, mosquitto_program, "-c", str(config)])
    chaos.cleanups += [lambda: broker.wait(10), broker.kill]
    cloud = CloudIngest(chaos.folder / "cloud", port=PORT, host=THERE)
    cloud.migrate()
    cloud.process.prefix = line_between.there
    chaos.cleanups.append(cloud.process.kill)
    cloud.process.start()
    here = chaos.new_broker()
    edge = chaos.agent(
        here.port, uplink_port=PORT, uplink=f'host = "{THERE}"\nkeep_alive_s = {KEEP_ALIVE_S}'
    )
    line = chaos.line(here.port, edge, period_s=0.05)
    line.wait_verdicts(200)
    wait_for(lambda: cloud.num_records() > 0, 60, "the first record")
    usual = line.promises()
    line_between.loss_ratio, line_between.delay_s = 0.05, 0.1
    line.wait_verdicts(400)
    bad = line.promises(since=usual.parts)
    wait_for(lambda: edge.num_waiting() < 200, 120, "records over the lossy line")
    lost = line_between.num_lost
    line_between.loss_ratio = line_between.delay_s = 0.0
    line_between.is_cut = True
    begin, since = time.monotonic(), len(edge.process.log)
    wait_for(lambda: "uplink disconnected" in edge.process.log[since:], 60, "the cut to be noticed")
    noticed_s = time.monotonic() - begin
    time.sleep(max(60 - noticed_s, 0))
    line_between.is_cut = False
    wait_for(lambda: edge.num_waiting() < 20, 180, "the outbox to drain")
    line.stop()
    wait_for(lambda: edge.num_waiting() == 0, 60, "the outbox to drain")
    made, waiting = edge.sequences(), edge.waiting_sequences()
    edge.process.stop()
    assert missing_and_doubled(
        {boot: last - waiting.get(boot, 0) for boot, last in made.items()}, cloud.records()
    ) == (0, 0)
    promises = line.promises()
    assert promises.broken == promises.missed_connected == 0
    assert noticed_s <= 1.5 * KEEP_ALIVE_S + 1
    figure = (
        f"{lost} packets lost at 5 % and 100 ms, cut for 60 s (noticed after {noticed_s:.1f} s of "
        f"a keepalive of {KEEP_ALIVE_S}); {cloud.num_records()} records, 0 lost, 0 doubled; p99 "
        f"{usual.p99_ms:.0f} -> {bad.p99_ms:.0f} ms"
    )
    Path(os.environ[INSIDE]).write_text(figure, encoding="utf-8")


def test_prefix_is_put_before_the_interpreter(tmp_path: Path) -> None:
    process = ManagedProcess(("-c", "pass"), tmp_path / "log", prefix=("env", "A=1"))
    process.start()
    assert process.stop() in {0, -15}

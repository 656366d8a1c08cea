"""Rows 7, 11, 12, 19, 22: a full disk, bad pictures, rubbish, a broken camera, and a long run."""

import itertools
import os
import statistics
import subprocess
import time
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

from models.contract.messages import ReasonCode, StationState, Verdict
from models.contract.topics import Channel
from simulators.broker_link import BrokerAddress
from simulators.camera import CameraFault
from simulators.chaos.edge import CELL, EdgeAgent
from simulators.chaos.line import ToyLine
from simulators.chaos.processes import wait_for
from simulators.chaos.stage import Stage
from simulators.chaos.toy_model import GOOD_GREY, HEIGHT, WIDTH, toy_picture
from simulators.faults import malformed_payloads, send_garbage

DEAD_PORT = 9
WAIT_S = 60.0


# --- row 7 -----------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a small file system")
def test_full_disk_stops_no_verdict_and_loses_no_record(chaos: Stage) -> None:
    broker = chaos.new_broker()
    data = chaos.folder / "edge" / "data"
    data.mkdir(parents=True)
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(data)], check=False
    ).returncode:
        pytest.skip("this machine does not mount tmpfs")
    chaos.cleanups.append(lambda: subprocess.run(["umount", "-l", str(data)], check=False))
    edge = chaos.agent(
        broker.port,
        outbox="max_bytes = 12_000_000\nmax_image_bytes = 6_000_000\n"
        "min_free_bytes = 1_000_000\nballast_bytes = 4_000_000",
        hard_examples="reject_ratio = 1.0\naudit_ratio = 1.0",
    )
    line = chaos.line(broker.port, edge, period_s=0.03)
    line.wait_verdicts(10)
    filler = data / "filler"
    _fill_up(filler)
    line.wait_verdicts(chaos.times(short=30, full=600), timeout_s=300)
    promises = line.promises()
    assert (promises.broken, promises.missed_connected) == (0, 0)
    assert not (data / "outbox/ballast").exists(), "the outbox lives on its reserve"
    dropped = edge.num_waiting("images")
    alarms = line.plc.status.alarms if line.plc.status else ()
    assert "storage" in {alarm.code for alarm in alarms}
    cloud = chaos.ingest(broker.port)
    if not chaos.is_full:  # in full, all of the reserve is used: draining waits for space
        wait_for(lambda: edge.num_waiting() < 20, 120, "the outbox to drain on the full disk")
    filler.unlink()
    wait_for((data / "outbox/ballast").exists, WAIT_S, "the reserve to come back")
    line.stop()
    wait_for(lambda: edge.num_waiting() == 0, 120, "the outbox to drain")
    parts = {exchange.trigger.part_id for exchange in line.plc.exchanges() if exchange.result}
    assert cloud.num_rows("results") >= len(parts)
    figure = (
        f"{promises.verdicts} verdicts on a full disk, 0 missed, all recorded; {dropped} pictures "
        "had been taken in; drained, reserve back"
    )
    chaos.row(7, "disk full at the edge", 1, "I1 I3", figure)


def _fill_up(path: Path) -> None:
    """Take every block that is left."""
    with path.open("wb", buffering=0) as stream:
        for size in (1_000_000, 4_096, 512):
            block = bytes(size)
            try:
                while True:
                    stream.write(block)
            except OSError:
                continue


# --- rows 11 and 12 --------------------------------------------------------------------------


def bad_pictures() -> dict[str, bytes]:
    """Files that are no picture of a part."""
    good = toy_picture(GOOD_GREY, 1)
    large = np.zeros((9_000, 9_000), np.uint8)  # 81 MP in some 80 KB
    return {
        "truncated": good[: len(good) // 2],
        "header only": good[:20],
        "bomb": cv2.imencode(".png", large)[1].tobytes(),
        "png named jpeg": cv2.imencode(".png", np.full((HEIGHT, WIDTH, 3), 200, np.uint8))[
            1
        ].tobytes(),
        "text": b"not a picture",
        "empty": b"",
    }


def test_bad_pictures_pass_no_part_and_take_no_memory(chaos: Stage) -> None:
    broker = chaos.new_broker()
    edge = chaos.agent(broker.port, uplink_port=DEAD_PORT)
    line = chaos.line(broker.port, edge, period_s=0.05)
    line.wait_verdicts(3)
    line.stop()
    pictures, before = bad_pictures(), edge.process.rss_bytes()
    plc = ToyLine(CELL, BrokerAddress("127.0.0.1", broker.port), edge.spool, deadline_ms=3_000).plc
    plc.start()
    chaos.cleanups.append(plc.stop)
    answers, times = {}, chaos.times(short=1, full=20)
    for number in range(times):
        for name, content in pictures.items():
            part_id = f"{name.replace(' ', '-')}-{number}"
            assert plc.wait_station_ready(WAIT_S), edge.process.log
            (edge.spool / f".{part_id}").write_bytes(content)
            (edge.spool / f".{part_id}").rename(edge.spool / f"{part_id}.jpg")
            result = plc.inspect(part_id).result
            answers[name] = str(result.verdict) if result else "none"
            assert result is not None, name
            assert _over_http(edge, content) in (
                {200, 422, 503} if name == "png named jpeg" else {400, 413, 415, 422, 503}
            )
    assert all(
        said == "not_decidable" for name, said in answers.items() if name != "png named jpeg"
    )
    grown_mb = (edge.process.rss_bytes() - before) / 2**20
    assert edge.process.is_alive
    assert grown_mb < 150
    good = ToyLine(CELL, BrokerAddress("127.0.0.1", broker.port), edge.spool, seed=5)
    chaos.cleanups.append(good.stop)
    good.plc.start()
    assert good.plc.wait_station_ready(WAIT_S)
    assert good.one_part().result is not None
    figure = f"none passed, memory +{grown_mb:.0f} MB: " + ", ".join(
        f"{name}: {said}" for name, said in answers.items()
    )
    chaos.row(11, "pictures that are none", times * len(pictures), "I3 I6", figure)


def _over_http(edge: EdgeAgent, content: bytes) -> int:
    url = f"http://127.0.0.1:{edge.http_port}/v1/inspect"
    return httpx.post(
        url, content=content, headers={"Content-Type": "image/jpeg"}, timeout=20
    ).status_code


def test_rubbish_on_every_channel_is_set_aside_and_the_next_message_lands(chaos: Stage) -> None:
    broker = chaos.new_broker()
    cloud = chaos.ingest(broker.port)
    edge = chaos.agent(broker.port)
    line = chaos.line(broker.port, edge, period_s=0.05)
    line.wait_verdicts(3)
    count = chaos.times(short=100, full=2_000)
    channels = (
        Channel.TRIGGER,
        Channel.RESULT_ACK,
        Channel.COMMAND,
        Channel.DESIRED_MODEL,
        Channel.EVENT,
    )
    address = BrokerAddress("127.0.0.1", broker.port)
    for channel in channels:
        send_garbage(address, CELL, count=count, seed=chaos.seed, channel=channel)
        line.wait_verdicts(2)
    line.stop()
    wait_for(lambda: edge.num_waiting() == 0, 120, "the outbox to drain")
    promises = line.promises()
    assert (promises.broken, edge.process.is_alive, cloud.process.is_alive) == (0, True, True)
    # Nearly all of it; the same rubbish twice is one letter.
    wait_for(lambda: cloud.num_rows("dead_letters") >= count * 0.3, 60, "dead letters")
    letters = cloud.num_rows("dead_letters")
    assert "Traceback" not in edge.process.log
    total = count * len(channels)
    chaos.row(12, "malformed payloads", total, "I1 I6", f"{letters} dead letters with a reason")


def test_malformed_payloads_are_all_different_kinds() -> None:
    assert len(set(itertools.islice(malformed_payloads(1), 9))) == 9


# --- row 19 ----------------------------------------------------------------------------------


def test_camera_that_fails_passes_no_part_and_is_back_by_itself(chaos: Stage) -> None:
    broker = chaos.new_broker()
    edge = chaos.agent(broker.port, uplink_port=DEAD_PORT)
    line = chaos.line(broker.port, edge, period_s=0.05, deadline_ms=3_000)
    line.bad_ratio = 0.0
    line.wait_verdicts(3)
    reasons, slowest_ms, slowest_back_s = {}, 0.0, 0.0
    faults = [CameraFault.GONE, CameraFault.BLACK, CameraFault.OVEREXPOSED, CameraFault.FROZEN]
    for fault in faults * chaos.times(short=1, full=5):
        line.camera.lens.fault = fault
        since = len(line.plc.exchanges()) + 1
        line.wait_verdicts(3)
        line.camera.lens.fault = CameraFault.NONE
        begin = time.monotonic()
        seen = [e.result for e in line.plc.exchanges()[since : since + 2] if e.result]
        assert seen
        assert all(result.verdict is Verdict.NOT_DECIDABLE for result in seen), fault
        reasons[str(fault)] = str(seen[-1].reasons[0].code)
        slowest_ms = max(slowest_ms, *(result.processing_ms for result in seen))
        wait_for(lambda: _last(line) is Verdict.OK, WAIT_S, f"an OK after {fault}")
        slowest_back_s = max(slowest_back_s, time.monotonic() - begin)
    line.stop()
    assert slowest_ms < 3_000
    assert {reasons["gone"], reasons["black"]} == {ReasonCode.NO_FRAME, ReasonCode.BLACK}
    promises = line.promises()
    assert promises.broken == 0
    assert not chaos.is_timed or slowest_back_s < 10
    figure = f"{reasons}, by {slowest_ms:.0f} ms of 3,000; OK again after {slowest_back_s:.1f} s"
    chaos.row(
        19,
        "camera gone, black, overexposed, frozen",
        len(faults) * chaos.times(short=1, full=5),
        "I3",
        figure,
    )


def _last(line: ToyLine) -> Verdict | None:
    answered = [e.result for e in line.plc.exchanges() if e.result is not None]
    return answered[-1].verdict if answered else None


# --- row 22 ----------------------------------------------------------------------------------


def test_long_run_grows_no_memory_and_opens_no_files(chaos: Stage) -> None:
    broker = chaos.new_broker()
    if not chaos.is_full:
        edge = chaos.agent(broker.port, uplink_port=DEAD_PORT)
        line = chaos.line(broker.port, edge, period_s=0.05)
        line.wait_verdicts(20)
        before = edge.process.num_descriptors()
        line.wait_verdicts(40)
        assert edge.process.num_descriptors() <= before + 2
        return
    cloud = chaos.ingest(broker.port)
    edge = chaos.agent(broker.port)
    line = chaos.line(broker.port, edge, period_s=0.1, deadline_ms=1_000)
    time.sleep(120)  # caches and pools fill in the first minutes
    samples, descriptors = [], []
    end = time.monotonic() + 600
    while time.monotonic() < end:
        samples.append((time.monotonic(), edge.process.rss_bytes()))
        descriptors.append(edge.process.num_descriptors())
        time.sleep(2)
    line.stop()
    slope = statistics.linear_regression(*zip(*samples, strict=True)).slope
    percent_per_h = 100 * slope * 3600 / samples[0][1]
    promises = line.promises()
    assert promises.missed_connected == promises.broken == 0
    assert max(descriptors) - min(descriptors) <= 4
    assert not chaos.is_timed or percent_per_h < 1.0
    assert line.plc.status is None or line.plc.status.station_state is not StationState.ERROR
    figure = (
        f"{promises.parts} parts, {cloud.num_records()} records; {samples[-1][1] / 2**20:.0f} MB, "
        f"{percent_per_h:+.2f} %/h; {max(descriptors)} descriptors; p99 {promises.p99_ms:.0f} ms"
    )
    chaos.row(22, "soak at 10 Hz for 12 minutes", promises.parts, "I3 I6", figure)

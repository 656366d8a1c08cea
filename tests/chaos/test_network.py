"""Rows 1, 2, 3, 10, 13: the way to the cloud dies, is cut, slow, doubled; a message too large."""

import random
import re
import statistics
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.outbox import SqliteOutbox
from edge_agent.ports import Picture
from models.contract.messages import HardReason, StationEvent
from models.contract.topics import Channel
from simulators.broker_link import BrokerAddress
from simulators.chaos.cloud import CloudIngest, missing_and_doubled
from simulators.chaos.edge import CELL, EdgeAgent
from simulators.chaos.processes import wait_for
from simulators.chaos.stage import IS_FULL, Stage
from simulators.errors import SimulatorError
from simulators.faults import NetworkProxy

DRAIN_S = 120.0
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def drained(edge: EdgeAgent, cloud: CloudIngest, timeout_s: float = DRAIN_S) -> None:
    """Wait until nothing waits for the cloud any more, then check I1 and I2."""
    try:
        wait_for(lambda: edge.num_waiting() == 0, timeout_s, "the outbox to drain")
    except SimulatorError as error:
        raise AssertionError(
            f"{error}: {edge.process.log[-1500:]}\n{cloud.process.log[-1500:]}"
        ) from error
    finally:
        edge.process.stop()
    missing, doubled = missing_and_doubled(_acknowledged(edge), cloud.records())
    assert (missing, doubled) == (0, 0)


def _acknowledged(edge: EdgeAgent) -> dict[str, int]:
    """What the edge made, less what it noted while it stopped and could not send any more."""
    waiting = edge.waiting_sequences()
    return {boot: last - waiting.get(boot, 0) for boot, last in edge.sequences().items()}


def test_brokers_and_ingest_killed_under_load_lose_and_double_nothing(chaos: Stage) -> None:
    dice = random.Random(chaos.seed)  # noqa: S311 - when to kill
    cell_broker, cloud_broker = chaos.new_broker(), chaos.new_broker()
    cloud = chaos.ingest(cloud_broker.port)
    edge = chaos.agent(cell_broker.port, uplink_port=cloud_broker.port)
    line = chaos.line(cell_broker.port, edge, period_s=0.05)
    times = chaos.times(short=2, full=20)
    for number in range(times):
        line.wait_verdicts(5)
        time.sleep(dice.random() * 0.3)
        is_ingest_first = number % 2 == 0
        if is_ingest_first:
            cloud.process.kill()
            line.wait_verdicts(5)  # rows that the broker takes and nobody stores
        cloud_broker.kill()
        line.wait_verdicts(5)  # I4: the cell works without the cloud
        cloud_broker.start()
        if is_ingest_first:
            cloud.process.start()
        if number % 2 == 1:
            cell_broker.kill()
            cell_broker.start()
    line.wait_verdicts(5)
    line.stop()
    drained(edge, cloud)
    promises = line.promises()
    assert promises.broken == 0
    figure = f"{cloud.num_records()} records, 0 lost, 0 doubled; {promises.verdicts} verdicts"
    chaos.row(1, "brokers SIGKILL, ingest first every 2nd time", times, "I1 I2 I4", figure)


def fill(folder: Path, *, records: int, pictures: int) -> None:
    """An outbox as a cell has it after hours without the cloud."""
    outbox = SqliteOutbox(folder, cell=CELL, boot_id=uuid4())
    outbox._file.execute("PRAGMA synchronous = OFF")  # nobody cuts the power here
    for number in range(records):
        outbox.append_record(StationEvent(code="old", text=str(number)), created_at=NOON)
    for number in range(pictures):
        data = f"{number} {folder}".encode() * 200
        outbox.append_image(picture_of(data))
    outbox.close()


def picture_of(data: bytes) -> Picture:
    """Something that travels as a picture."""
    import hashlib

    return Picture(
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        width_px=64,
        height_px=48,
        result_id=uuid4(),
        part_id="old",
        view="main",
        created_at=NOON,
        hard_reasons=(HardReason.AUDIT,),
    )


class Listener:
    """What comes by on the uplink's topics, and when."""

    def __init__(self, port: int, channels: Sequence[Channel]) -> None:
        self.heard: list[tuple[Channel, float, bytes]] = []
        self._topics = {CELL.topic(channel): channel for channel in channels}
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=f"listener-{uuid4()}", protocol=mqtt.MQTTv5
        )
        self.client.on_message = self._on_message
        self.client.on_connect = lambda client, *_: client.subscribe(
            [(topic, 1) for topic in self._topics]
        )
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _on_message(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        channel = self._topics[message.topic]
        self.heard.append((channel, time.monotonic(), bytes(message.payload)))


def test_backlog_drains_fast_and_verdicts_go_before_pictures(chaos: Stage) -> None:
    broker = chaos.new_broker()
    edge = chaos.agent(broker.port, is_started=False)
    records, pictures = chaos.times(short=3_000, full=28_800), 20
    fill(edge.outbox_path.parent, records=records, pictures=pictures)
    cloud = chaos.ingest(broker.port)
    listener = Listener(broker.port, (Channel.EVENT, Channel.IMAGE))
    chaos.cleanups.append(listener.stop)
    edge.process.start()
    line = chaos.line(broker.port, edge)
    wait_for(lambda: len(listener.heard) > 0, 60, "the first row")
    begin = listener.heard[0][1]
    wait_for(lambda: edge.num_waiting() < 200, DRAIN_S, "the backlog to drain")
    rate = (records - 200) / (time.monotonic() - begin)
    wait_for(lambda: edge.num_waiting("images") == 0, DRAIN_S, "the pictures to follow")
    line.stop()
    drained(edge, cloud)
    first_picture = next(at for channel, at, _ in listener.heard if channel is Channel.IMAGE)
    before = sum(
        channel is Channel.EVENT and at < first_picture for channel, at, _ in listener.heard
    )
    assert before >= records - 200, "records go before pictures"
    promises = line.promises()
    assert promises.broken == promises.missed_connected == 0
    assert not chaos.is_timed or rate >= 1_000
    figure = f"{rate:.0f} rows/s beside a line; p99 {promises.p99_ms:.0f} ms"
    chaos.row(2, f"backlog of {records} rows", 1, "I1 I7", figure)


def test_cloud_cut_off_and_back_loses_nothing(chaos: Stage) -> None:
    cell_broker, cloud_broker = chaos.new_broker(), chaos.new_broker()
    proxy = NetworkProxy(BrokerAddress("127.0.0.1", cloud_broker.port))
    proxy.start()
    chaos.cleanups.append(proxy.stop)
    cloud = chaos.ingest(cloud_broker.port)
    keep_alive_s = 4
    edge = chaos.agent(
        cell_broker.port, uplink_port=proxy.port, uplink=f"keep_alive_s = {keep_alive_s}"
    )
    line = chaos.line(cell_broker.port, edge, period_s=0.05)
    line.wait_verdicts(chaos.times(short=20, full=200))
    wait_for(lambda: cloud.num_records() > 0, 60, "the first record at the cloud")
    num_before = line.promises().parts
    usual = line.promises()
    proxy.conditions.is_black_hole = True
    begin, since = time.monotonic(), len(edge.process.log)
    wait_for(
        lambda: "uplink disconnected" in edge.process.log[since:],
        3 * keep_alive_s,
        "the black hole to be noticed",
    )
    noticed_s = time.monotonic() - begin
    assert noticed_s <= 1.5 * keep_alive_s + (0.5 if chaos.is_timed else 3.0)
    cut_off_s = chaos.times(short=1, full=60)
    time.sleep(max(cut_off_s - noticed_s, 0))
    during = line.promises(since=num_before)
    proxy.cut()
    proxy.conditions.is_black_hole = False
    proxy.conditions.latency_s = 0.2
    line.wait_verdicts(chaos.times(short=10, full=200))
    proxy.conditions.latency_s = 0.0
    line.stop()
    drained(edge, cloud)
    promises = line.promises()
    assert promises.broken == promises.missed_connected == 0
    shift = during.p50_ms / usual.p50_ms
    assert during.verdicts > 0
    assert not chaos.is_timed or during.p99_ms <= 1.2 * usual.p99_ms + 5
    figure = (
        f"noticed after {noticed_s:.1f} s of a keepalive of {keep_alive_s} s; "
        f"p50 x{shift:.2f}, p99 {usual.p99_ms:.0f} -> {during.p99_ms:.0f} ms"
    )
    chaos.row(3, f"black hole {cut_off_s} s, then 200 ms latency", 1, "I1 I4 I7", figure)


@pytest.mark.skipif(not IS_FULL, reason="its short form is integration/test_ingest.py")
def test_every_message_three_times_and_out_of_order_makes_one_row_each(chaos: Stage) -> None:
    broker = chaos.new_broker()
    cloud = chaos.ingest(broker.port)
    edge = chaos.agent(broker.port)
    echo = Echo(broker.port, chaos.seed)
    chaos.cleanups.append(echo.stop)
    line = chaos.line(broker.port, edge, period_s=0.02)
    line.wait_verdicts(chaos.times(short=20, full=1_000), timeout_s=300)
    line.stop()
    wait_for(lambda: echo.is_quiet, 60, "the echo to end")
    drained(edge, cloud)
    parts = {exchange.trigger.part_id for exchange in line.plc.exchanges()}
    assert cloud.num_rows("results") == len(parts)
    promises = line.promises()
    assert promises.broken == promises.missed_connected == 0
    assert echo.num_echoes > 2 * len(parts)
    figure = f"{echo.num_echoes} copies beside {len(parts)} parts: one capture, one row each"
    chaos.row(10, "every message three times, reordered", echo.num_echoes, "I2 I3", figure)


class Echo:
    """Sends each message of PLC and uplink twice more, some time later, in another order."""

    MARK = ("echo", "1")
    CHANNELS = (Channel.TRIGGER, Channel.RESULT_ACK, Channel.EVENT, Channel.INGEST_ACK)

    def __init__(self, port: int, seed: int) -> None:
        self.num_echoes = 0
        self._dice = random.Random(seed)  # noqa: S311 - how late
        self._timers: list[threading.Timer] = []
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id="echo", protocol=mqtt.MQTTv5
        )
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe([(CELL.topic(channel), 1) for channel in self.CHANNELS])

    @property
    def is_quiet(self) -> bool:
        return not any(timer.is_alive() for timer in self._timers)

    def stop(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        if self.MARK in getattr(message.properties, "UserProperty", []):
            return
        for _ in range(2):
            timer = threading.Timer(
                self._dice.random() * 0.5, self._send, (message.topic, bytes(message.payload))
            )
            timer.daemon = True
            timer.start()
            self._timers.append(timer)
        self._timers = [timer for timer in self._timers if timer.is_alive()]

    def _send(self, topic: str, payload: bytes) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.UserProperty = [self.MARK]
        self._client.publish(topic, payload, qos=1, properties=properties)
        self.num_echoes += 1


@pytest.mark.skipif(not IS_FULL, reason="its short form is integration/test_mqtt_uplink.py")
def test_payload_over_the_limit_is_refused_and_the_next_one_comes_at_once(chaos: Stage) -> None:
    broker = chaos.new_broker()
    edge = chaos.agent(broker.port, is_started=False)
    outbox = SqliteOutbox(edge.outbox_path.parent, cell=CELL, boot_id=uuid4())
    times = chaos.times(short=1, full=8)  # as many as may be on the way: nobody acknowledges here
    for number in range(times):
        outbox.append_image(picture_of(bytes([number]) * 17_000_000))
        outbox.append_image(picture_of(f"small {number}".encode()))
    outbox.close()
    listener = Listener(broker.port, (Channel.IMAGE, Channel.REPORTED))
    chaos.cleanups.append(listener.stop)
    edge.process.start()
    wait_for(lambda: len(pictures_of(listener)) == times, 90, edge.process.log)
    connected = next(at for channel, at, _ in listener.heard if channel is Channel.REPORTED)
    delays = [at - connected for channel, at, _ in listener.heard if channel is Channel.IMAGE]
    assert pictures_of(listener) == [f"small {number}".encode() for number in range(times)]
    set_aside = len(re.findall("row set aside", edge.process.log))
    assert set_aside == times
    assert not chaos.is_full or statistics.median(delays) < times
    figure = f"{set_aside} set aside; the small ones followed within {max(delays):.2f} s"
    chaos.row(13, "pictures of 17 MB", times, "I1", figure)


def pictures_of(listener: Listener) -> list[bytes]:
    """In the order of their first arrival: nobody acknowledges them here."""
    came = (payload for channel, _, payload in listener.heard if channel is Channel.IMAGE)
    return list(dict.fromkeys(came))

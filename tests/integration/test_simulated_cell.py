"""The simulated PLC and cell against a station of the test's own, over a real broker."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from models.contract.messages import (
    Acquired,
    Command,
    CommandAck,
    Connection,
    PlcResult,
    Rejection,
    ResultAck,
    StationState,
    StationStatus,
    Trigger,
    TriggerAck,
    Verdict,
)
from models.contract.topics import CellAddress, Channel, split_topic
from simulators.broker_link import BrokerAddress, BrokerLink
from simulators.camera import SpoolCamera
from simulators.cell import CellCycle, SimulatedCell
from simulators.drift import DriftSchedule
from simulators.errors import SimulatorError
from simulators.faults import NetworkProxy, send_garbage
from simulators.plc import Plc, PlcSettings
from simulators.sources import RenderedSource
from simulators.truth import TruthBook

CELL = CellAddress("plant1", "assembly", "line1", "cell1")


class Station:
    """Says OK to everything; can be told to refuse, or to say nothing."""

    def __init__(self, address: BrokerAddress) -> None:
        self.refusals = 0
        self.is_silent = False
        self.acked: list[str] = []
        self.commands: list[Command] = []
        self._link = BrokerLink(
            address,
            "station",
            subscriptions=[
                CELL.topic(c) for c in (Channel.TRIGGER, Channel.RESULT_ACK, Channel.COMMAND)
            ],
            on_message=self._receive,
        )

    def start(self) -> None:
        self._link.start()
        status = StationStatus(
            cell=str(CELL), connection=Connection.ONLINE, station_state=StationState.READY
        )
        self._link.publish(CELL.topic(Channel.STATE), status.to_bytes(), retain=True)

    def stop(self) -> None:
        self._link.stop()

    def _receive(self, topic: str, payload: bytes) -> None:
        _, channel = split_topic(topic)
        if channel is Channel.RESULT_ACK:
            self.acked.append(ResultAck.from_bytes(payload).trigger_id)
        elif channel is Channel.COMMAND:
            command = Command.from_bytes(payload)
            self.commands.append(command)
            ack = CommandAck(command_id=command.command_id, accepted=True)
            self._link.publish(CELL.topic(Channel.COMMAND_ACK), ack.to_bytes())
        else:
            self._answer(Trigger.from_bytes(payload))

    def _answer(self, trigger: Trigger) -> None:
        if self.is_silent:
            return
        if self.refusals:
            self.refusals -= 1
            refusal = TriggerAck(trigger_id=trigger.trigger_id, rejection=Rejection.BUSY)
            self._link.publish(CELL.topic(Channel.ACK), refusal.to_bytes())
            return
        ack = TriggerAck(trigger_id=trigger.trigger_id, acquisition_id=1)
        acquired = Acquired(trigger_id=trigger.trigger_id, acquisition_id=1)
        result = PlcResult(
            trigger_id=trigger.trigger_id,
            result_id=uuid4(),
            job_id=uuid4(),
            part_id=trigger.part_id,
            view=trigger.view,
            verdict=Verdict.OK,
            recipe_id=trigger.recipe_id,
            recipe_version=1,
            processing_ms=1,
        )
        for channel, message in (
            (Channel.ACK, ack),
            (Channel.ACQUIRED, acquired),
            (Channel.RESULT, result),
        ):
            self._link.publish(CELL.topic(channel), message.to_bytes())


@pytest.fixture
def address(broker: Any) -> BrokerAddress:  # noqa: ANN401 - the fixture's own type
    return BrokerAddress(broker.host, broker.port)


@pytest.fixture
def station(address: BrokerAddress) -> Iterator[Station]:
    station = Station(address)
    station.start()
    yield station
    station.stop()


@pytest.fixture
def new_plc(address: BrokerAddress, station: Station) -> Iterator[Callable[..., Plc]]:
    started: list[Plc] = []

    def start(**settings: float | bool) -> Plc:
        plc = Plc(CELL, address, PlcSettings(recipe_id="plate-a", **settings))  # type: ignore[arg-type]
        plc.start()
        started.append(plc)
        assert plc.wait_station_ready(5)
        return plc

    assert station
    yield start
    for plc in started:
        plc.stop()


def test_a_part_gets_its_verdict_in_milliseconds_and_it_is_acknowledged(
    new_plc: Callable[..., Plc], station: Station
) -> None:
    plc = new_plc()
    exchanges = [plc.inspect(f"p{number}") for number in range(20)]
    assert all(exchange.result for exchange in exchanges)
    latencies = sorted(plc.statistics().latencies_ms)
    # Without TCP_NODELAY on both sides this is 40 ms or more.
    assert latencies[10] < 20
    deadline = time.monotonic() + 5
    while len(station.acked) < 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert station.acked == [exchange.trigger.trigger_id for exchange in exchanges]


def test_a_refused_part_waits_and_is_triggered_again(
    new_plc: Callable[..., Plc], station: Station
) -> None:
    plc = new_plc()
    station.refusals = 2
    assert plc.inspect("p1").result is not None
    assert plc.statistics().refused == {Rejection.BUSY: 2}
    assert plc.statistics().missed == 0


def test_a_silent_station_is_a_miss(new_plc: Callable[..., Plc], station: Station) -> None:
    plc = new_plc(patience_s=0.2)
    station.is_silent = True
    assert plc.inspect("p1").is_missed
    assert plc.statistics().missed_connected == 1


def test_a_plc_that_misbehaves_repeats_triggers_and_never_acknowledges(
    new_plc: Callable[..., Plc], station: Station
) -> None:
    plc = new_plc(repeat_ratio=1.0, acknowledges=False)
    exchange = plc.inspect("p1")
    assert exchange.num_repeats == 1
    time.sleep(0.1)
    # This station answers a repeat anew, which the PLC must notice.
    assert plc.statistics().contradictions == 1
    assert station.acked == []


def test_a_cell_reports_what_a_later_station_finds(
    new_plc: Callable[..., Plc], station: Station, tmp_path: Path
) -> None:
    plc = new_plc()
    schedule = DriftSchedule(known_rate=1.0)
    source = RenderedSource(str(CELL), "L1", 3, schedule, 160, 128)
    book = TruthBook(tmp_path / "truth.jsonl")
    cycles: list[CellCycle] = []
    cell = SimulatedCell(
        source,
        SpoolCamera(tmp_path / "spool"),
        plc,
        book,
        cadence_s=0,
        found_downstream=1.0,
        on_cycle=cycles.append,
    )
    assert cell.run(threading.Event(), num_parts=5) == 5
    book.close()
    assert all(cycle.is_escape for cycle in cycles)
    # The last ones are still on their way to the later station.
    assert [command.part_id for command in station.commands] == [
        cycle.truth.part_id for cycle in cycles[:3]
    ]
    assert list((tmp_path / "spool").iterdir()) == []


def test_garbage_on_the_plcs_own_channels_does_not_stop_it(
    new_plc: Callable[..., Plc], address: BrokerAddress
) -> None:
    plc = new_plc()
    send_garbage(address, CELL, count=50, seed=1, channel=Channel.RESULT)
    assert plc.inspect("p1").result is not None


def test_a_proxy_delays_and_a_black_hole_swallows(station: Station, address: BrokerAddress) -> None:
    assert station
    proxy = NetworkProxy(address)
    proxy.start()
    proxy.conditions.latency_s = 0.05
    settings = PlcSettings(recipe_id="plate-a", patience_s=0.5)
    plc = Plc(CELL, BrokerAddress("127.0.0.1", proxy.port), settings)
    plc.start()
    try:
        assert plc.wait_station_ready(5)
        exchange = plc.inspect("p1")
        assert exchange.latency_ms is not None
        assert exchange.latency_ms >= 100
        proxy.conditions.is_black_hole = True
        assert plc.inspect("p2").is_missed
    finally:
        plc.stop()
        proxy.stop()


def test_no_broker_is_one_line_that_says_what_to_do() -> None:
    plc = Plc(CELL, BrokerAddress("127.0.0.1", 1), PlcSettings(recipe_id="plate-a"))
    with pytest.raises(SimulatorError, match=r"no MQTT broker at 127\.0\.0\.1:1 "):
        plc.start()

"""The terminal monitor against a real broker."""

import json
import subprocess
import sys
import threading
import time
from typing import Protocol

from edge_agent.adapters.mqtt_connection import BrokerAccess
from edge_agent.monitor import Monitor, listening_access
from models.contract.messages import Connection, StationState, StationStatus, Trigger, TriggerAck
from models.contract.topics import CellAddress, Channel
from simulators.broker_link import BrokerAddress, BrokerLink

CELL = CellAddress("plant1", "assembly", "line1", "cell1")


class Broker(Protocol):
    port: int


def station(port: int) -> BrokerLink:
    """Somebody who has said that the cell is ready."""
    link = BrokerLink(
        BrokerAddress("127.0.0.1", port), "station", subscriptions=(), on_message=lambda *_: None
    )
    link.start()
    status = StationStatus(
        cell=str(CELL), connection=Connection.ONLINE, station_state=StationState.READY, heartbeat=7
    )
    link.publish(CELL.topic(Channel.STATE), status.to_bytes(), retain=True)
    return link


def test_state_is_shown_once_as_json_with_exit_code_0(broker: Broker) -> None:
    link = station(broker.port)
    command = [sys.executable, "-m", "edge_agent.cli", "monitor", "--port", str(broker.port)]
    done = subprocess.run(
        [*command, "--once", "--json"], capture_output=True, text=True, check=False, timeout=60
    )
    link.stop()
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["cell"], said["status"]["heartbeat"]) == (str(CELL), 7)
    assert said["signals"]["ready"]


def test_live_signals_are_drawn_from_what_plc_and_cell_say(broker: Broker) -> None:
    before = threading.active_count()
    link = station(broker.port)
    access = BrokerAccess("127.0.0.1", broker.port, "cell1")
    monitor = Monitor(listening_access(access), CELL)
    monitor.start()
    try:
        assert monitor.wait_for_status(10)
        trigger = Trigger(trigger_id="t1", part_id="p1", recipe_id="plate")
        link.publish(CELL.topic(Channel.TRIGGER), trigger.to_bytes())
        ack = TriggerAck(trigger_id="t1", acquisition_id=3)
        link.publish(CELL.topic(Channel.ACK), ack.to_bytes())
        end = time.monotonic() + 10
        while not monitor.book.counters["accepted"] and time.monotonic() < end:
            monitor.listen(time.monotonic() + 0.05)
        text = _drawn(monitor)
    finally:
        monitor.stop()
        link.stop()
    assert "p1" in text
    assert "acquisition_id" in text
    assert "heartbeat 7" in text
    assert threading.active_count() == before


def _drawn(monitor: Monitor) -> str:
    from rich.console import Console

    console = Console(width=200, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as capture:
        console.print(next(monitor.frames()))
    return capture.get()

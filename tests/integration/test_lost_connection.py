"""What was on its way to a broker that died: a verdict or a trigger that is old must not arrive.

The broker is stopped, so that it has not answered for the message, and then killed. paho by itself
sends the message again by the next connection, when the part is long gone.
"""

import os
import signal
import threading
from typing import Protocol

import pytest

from edge_agent.adapters.mqtt_connection import (
    BrokerAccess,
    Connected,
    ConnectionEvent,
    MqttConnection,
    Received,
)
from simulators.broker_link import BrokerAddress, BrokerLink

TOPIC = "lost/test"
WAIT_S = 20.0


class Broker(Protocol):
    """The broker fixture, which conftest.py makes."""

    port: int
    pid: int

    def start(self) -> None: ...

    def kill(self) -> None: ...


class Inbox:
    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.num_connections = 0
        self.changed = threading.Condition()

    def take(self, payload: bytes) -> None:
        with self.changed:
            self.received.append(payload)
            self.changed.notify_all()

    def on_event(self, event: ConnectionEvent) -> None:
        match event:
            case Connected():
                with self.changed:
                    self.num_connections += 1
                    self.changed.notify_all()
            case Received(_, payload):
                self.take(payload)
            case _:
                pass

    def wait_for(self, *payloads: bytes) -> list[bytes]:
        with self.changed:
            assert self.changed.wait_for(lambda: set(payloads) <= set(self.received), WAIT_S)
            return sorted(self.received)

    def wait_for_connections(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.num_connections >= count, WAIT_S)


def stop(broker: Broker) -> None:
    """It takes what is sent into its socket, and reads none of it."""
    os.kill(broker.pid, signal.SIGSTOP)


def replace(broker: Broker) -> None:
    broker.kill()
    broker.start()


@pytest.mark.parametrize(("session_expiry_s", "arrives"), [(0, False), (60, True)])
def test_what_was_on_its_way_outlives_the_connection_only_with_the_session(
    broker: Broker, session_expiry_s: int, arrives: bool
) -> None:
    inbox = Inbox()
    access = BrokerAccess("127.0.0.1", broker.port, "lost", session_expiry_s=session_expiry_s)
    connection = MqttConnection(
        access, listener=inbox.on_event, subscriptions=[TOPIC], is_prompt=True
    )
    connection.start()
    try:
        inbox.wait_for_connections(1)
        stop(broker)
        assert connection.publish(TOPIC, b"old", expiry_s=5) is not None
        replace(broker)
        inbox.wait_for_connections(2)
        assert connection.publish(TOPIC, b"new") is not None
        expected = [b"new", b"old"] if arrives else [b"new"]
        received = inbox.wait_for(*expected)
    finally:
        connection.stop()
    assert received == expected


def test_simulated_plc_lets_its_trigger_fall_and_keeps_its_acknowledgement(broker: Broker) -> None:
    inbox, lost = Inbox(), threading.Event()
    link = BrokerLink(
        BrokerAddress("127.0.0.1", broker.port),
        "lost-plc",
        subscriptions=[TOPIC],
        on_message=lambda _, payload: inbox.take(payload),
        on_lost=lost.set,
    )
    link.start()
    try:
        stop(broker)
        link.publish(TOPIC, b"trigger", expiry_s=5)
        link.publish(TOPIC, b"acknowledgement")
        replace(broker)
        assert lost.wait(WAIT_S)
        link.publish(TOPIC, b"trigger while nobody was there", expiry_s=5)
        assert link.wait_ready(WAIT_S)
        link.publish(TOPIC, b"new", expiry_s=5)
        received = inbox.wait_for(b"new")
    finally:
        link.stop()
    assert received == [b"acknowledgement", b"new"]

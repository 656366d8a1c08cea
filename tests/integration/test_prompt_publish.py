"""Threads that publish at once, each writing to the socket itself, tear no message."""

import threading
from typing import Protocol

from edge_agent.adapters.mqtt_connection import (
    BrokerAccess,
    Connected,
    ConnectionEvent,
    MqttConnection,
    Published,
    Received,
)

NUM_THREADS, NUM_MESSAGES = 4, 150
TOPIC = "prompt/test"
WAIT_S = 20.0


class Broker(Protocol):
    """The broker fixture, which conftest.py makes."""

    port: int


class Listener:
    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.num_published = 0
        self.changed = threading.Condition()
        self.is_connected = False

    def __call__(self, event: ConnectionEvent) -> None:
        with self.changed:
            match event:
                case Connected():
                    self.is_connected = True
                case Received(_, payload):
                    self.received.append(payload)
                case Published(_, None):
                    self.num_published += 1
                case _:
                    pass
            self.changed.notify_all()

    def wait_for_messages(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.received) >= count, WAIT_S)


def test_messages_of_many_threads_arrive_whole_and_once(broker: Broker) -> None:
    listener = Listener()
    access = BrokerAccess("127.0.0.1", broker.port, "prompt")
    connection = MqttConnection(access, listener=listener, subscriptions=[TOPIC], is_prompt=True)
    connection.start()
    with listener.changed:
        assert listener.changed.wait_for(lambda: listener.is_connected, WAIT_S)
    connection.publish(TOPIC, b"first")
    listener.wait_for_messages(1)
    payloads = [
        [b"%d:%d:" % (thread, n) + b"x" * (n * 97 % 5000) for n in range(NUM_MESSAGES)]
        for thread in range(NUM_THREADS)
    ]

    def publish(mine: list[bytes]) -> None:
        for payload in mine:
            assert connection.publish(TOPIC, payload) is not None

    threads = [threading.Thread(target=publish, args=(mine,)) for mine in payloads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    listener.wait_for_messages(1 + NUM_THREADS * NUM_MESSAGES)
    connection.stop()
    sent = sorted(payload for mine in payloads for payload in mine)
    assert sorted(listener.received[1:]) == sent

"""Messages are read whole, however the network cuts what the broker sends."""

import socket
from collections.abc import Sequence

import paho.mqtt.client as mqtt
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cloud.mqtt_client import GulpingClient, Publication

PING_ANSWER = b"\xd0\x00"


class Connection:
    """A client and the broker's end of its connection."""

    def __init__(self) -> None:
        self.broker, mine = socket.socketpair()
        mine.setblocking(False)
        self.got: list[Publication] = []
        self.client = GulpingClient(
            CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5, manual_ack=True
        )
        self.client.on_publications = self.got.extend
        self.client._sock = mine

    def close(self) -> None:
        self.broker.close()
        self.client._sock.close()  # type: ignore[union-attr]


def packet(message: Publication, *, qos: int) -> bytes:
    """What a broker sends for a message."""
    topic = message.topic.encode()
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if message.properties:
        properties.UserProperty = list(message.properties)
    body = len(topic).to_bytes(2, "big") + topic
    if qos:
        body += message.packet_id.to_bytes(2, "big")
    body += bytes(properties.pack()) + message.payload  # type: ignore[no-untyped-call]
    head, length = bytes([0x30 | qos << 1]), len(body)
    while length > 127:
        head += bytes([length % 128 | 128])
        length //= 128
    return head + bytes([length]) + body


def messages() -> st.SearchStrategy[Sequence[Publication]]:
    return st.lists(
        st.builds(
            Publication,
            topic=st.sampled_from(["a", "plant/line/cell", "ä/ö"]),
            payload=st.sampled_from([0, 1, 90, 113, 127, 128, 3_000, 16_384, 70_000]).map(bytes),
            packet_id=st.integers(0, 65_535),
            properties=st.sampled_from([(), (("name", "value"), ("more", ""))]),
        ),
        max_size=12,
    )


@settings(max_examples=40, deadline=None)
@given(sent=messages(), cuts=st.lists(st.integers(1, 5_000), min_size=1, max_size=8))
def test_every_message_is_read_once_and_whole_wherever_the_stream_is_cut(
    sent: Sequence[Publication], cuts: Sequence[int]
) -> None:
    stream = b"".join(
        packet(message, qos=min(message.packet_id, 1)) + PING_ANSWER * (number % 3 == 0)
        for number, message in enumerate(sent)
    )
    connection, at, number = Connection(), 0, 0
    while at < len(stream):
        size = cuts[number % len(cuts)] * (1 if number < len(cuts) else 50)
        connection.broker.sendall(stream[at : at + size])
        assert connection.client.loop_read() == MQTTErrorCode.MQTT_ERR_SUCCESS
        at, number = at + size, number + 1
    while len(connection.got) < len(sent):
        assert connection.client.loop_read() == MQTTErrorCode.MQTT_ERR_SUCCESS
    connection.close()
    assert connection.got == list(sent)


def test_a_malformed_message_and_a_closed_connection_end_the_connection() -> None:
    for stream in (b"\x32\x05\xff\xff\x00\x01\x00", b"\x30\xff\xff\xff\xff\xff", b""):
        connection = Connection()
        connection.broker.sendall(stream)
        connection.broker.shutdown(socket.SHUT_WR)
        results: list[object] = []
        for _ in range(3):
            try:
                results.append(connection.client.loop_read())
            except Exception as error:  # noqa: BLE001 - the link begins anew after any
                results.append(error)
        connection.broker.close()
        assert connection.got == []
        assert any(result != MQTTErrorCode.MQTT_ERR_SUCCESS for result in results), stream

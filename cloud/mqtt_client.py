"""paho's client for many messages: it takes what the socket has in one gulp, and acknowledges many.

By itself paho asks the system for each byte of a header, and sends one acknowledgement at a time:
some ten calls a message, at each of which another thread may take the interpreter.
"""

import socket
import struct
from collections.abc import Sequence

import paho.mqtt.client as mqtt
from paho.mqtt.enums import MessageType, MQTTErrorCode

GULP_BYTES = 65_536
_PUBACK = struct.Struct("!BBH")


class GulpingClient(mqtt.Client):
    """An MQTT client that reads ahead."""

    _gulp = memoryview(b"")
    _gulp_of: "socket.socket | object | None" = None

    def _sock_recv(self, bufsize: int) -> bytes:
        if self._gulp_of is not self._sock:  # a new connection: what the old one said is gone
            self._gulp, self._gulp_of = memoryview(b""), self._sock
        if not self._gulp:
            self._gulp = memoryview(super()._sock_recv(max(bufsize, GULP_BYTES)))
        taken, self._gulp = self._gulp[:bufsize], self._gulp[bufsize:]
        return bytes(taken)

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Read as paho does, and whatever was read ahead: no wake-up will come for that."""
        result = super().loop_read(max_packets)
        while result == MQTTErrorCode.MQTT_ERR_SUCCESS and self._gulp:
            if self._gulp_of is not self._sock:
                break
            result = super().loop_read(max_packets)
        return result

    def ack_all(self, packet_ids: Sequence[int]) -> None:
        """Send PUBACK for all of these at once."""
        packets = b"".join(_PUBACK.pack(MessageType.PUBACK, 2, number) for number in packet_ids)
        if packets:
            self._packet_queue(MessageType.PUBACK, packets, 0, 1)

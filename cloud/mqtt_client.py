"""paho's client for many messages: it reads all that the socket has, and acknowledges many at once.

By itself paho asks the system for each byte of a header, waits for the socket again after each
packet, and sends one acknowledgement at a time: some ten calls a message. Here short messages
are cut out of what was read in one go; everything else takes paho's own way.
"""

import socket
import struct
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import paho.mqtt.client as mqtt
from paho.mqtt.enums import MessageType, MQTTErrorCode

GULP_BYTES = 65_536
_PUBACK = struct.Struct("!BBH")
_QOS_1, _QOS_2 = 0x02, 0x04
_KIND = 0xF0
_LONGER = 0x80
"""Bit of a length byte that says: another one follows."""


class Publication(NamedTuple):
    """A message that the broker delivered."""

    topic: str
    payload: bytes
    packet_id: int = 0
    """What its acknowledgement names; 0: it needs none."""
    properties: tuple[tuple[str, str], ...] = ()
    """Its user properties."""


class GulpingClient(mqtt.Client):
    """An MQTT v5 client that reads ahead and gives messages in batches to `on_publications`."""

    on_publications: Callable[[Sequence[Publication]], None]
    _gulp: bytes = b""
    _gulp_at = 0
    _gulp_of: "socket.socket | object | None" = None

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Take whatever the socket has; no wake-up will come for what was read ahead."""
        try:
            self._read_ahead()
        except OSError:
            return super().loop_read(max_packets)  # meets the same, and knows what to do
        if not self._is_ahead:
            return super().loop_read(max_packets)
        while self._is_ahead:
            if self._in_packet["command"] == 0:
                publications = self._cut_publications()
                if publications:
                    self.on_publications(publications)
            if self._is_ahead:
                result = self._packet_read()
                if result > 0:
                    return self._loop_rc_handle(result)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    @property
    def _is_ahead(self) -> bool:
        # On a new connection, what the old one said is gone.
        return self._gulp_at < len(self._gulp) and self._gulp_of is self._sock

    def _read_ahead(self) -> None:
        if not self._is_ahead:
            self._gulp, self._gulp_at, self._gulp_of = b"", 0, self._sock
            self._gulp = super()._sock_recv(GULP_BYTES)
            with self._msgtime_mutex:
                self._last_bytes_received = time.monotonic()

    def _sock_recv(self, bufsize: int) -> bytes:
        if not self._is_ahead:
            return super()._sock_recv(bufsize)
        taken = self._gulp[self._gulp_at : self._gulp_at + bufsize]
        self._gulp_at += len(taken)
        return taken

    def _cut_publications(self) -> list[Publication]:
        """Messages that lie whole in what was read, up to the first packet that is none.

        Left to paho is what has properties, is longer than two bytes can say, or is malformed.
        """
        data, at, size = self._gulp, self._gulp_at, len(self._gulp)
        found = []
        while at + 2 < size:
            head, length, start = data[at], data[at + 1], at + 2
            if head & _KIND != MessageType.PUBLISH or head & _QOS_2:
                break
            if length & _LONGER:
                if data[start] & _LONGER:
                    break
                length = (length ^ _LONGER) | data[start] << 7
                start += 1
            end = start + length
            # The shortest that names a topic: two bytes of its length, itself, no properties.
            if end > size or length < 4:
                break
            topic_end = start + 2 + (data[start] << 8 | data[start + 1])
            body, packet_id = topic_end, 0
            if head & _QOS_1 and body + 2 < end:
                packet_id = data[body] << 8 | data[body + 1]
                body += 2
            if body >= end or data[body]:
                break
            topic = _text(data[start + 2 : topic_end])
            found.append(Publication(topic, data[body + 1 : end], packet_id))
            at = end
        self._gulp_at = at
        return found

    def _handle_on_message(self, message: mqtt.MQTTMessage) -> None:
        properties = tuple(getattr(message.properties, "UserProperty", ()))
        topic = _text(bytes(message._topic))  # noqa: SLF001 - the public one may raise
        payload = bytes(message.payload)  # what paho read itself is a bytearray
        self.on_publications([Publication(topic, payload, message.mid, properties)])

    def ack_all(self, packet_ids: Sequence[int]) -> None:
        """Send PUBACK for all of these at once."""
        packets = b"".join(_PUBACK.pack(MessageType.PUBACK, 2, number) for number in packet_ids)
        if packets:
            self._packet_queue(MessageType.PUBACK, packets, 0, 1)


@lru_cache(maxsize=4_096)
def _text(topic: bytes) -> str:
    return topic.decode(errors="replace")

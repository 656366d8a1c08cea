"""Acknowledges whatever a cell sends up: ``python -m bench.edge.cloud_stand_in PORT CELL``.

It costs a fraction of what a real ingest does, as that runs on another machine.
"""

import json
import sys
import threading
import time
from collections import defaultdict
from uuid import UUID

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from models.contract.messages import MAX_ACKED, ImageHeader, IngestAck, Stream
from models.contract.topics import CellAddress, Channel

FLUSH_S = 0.05


class StandIn:
    """Collects what arrives and acknowledges it in batches."""

    def __init__(self, port: int, cell: CellAddress) -> None:
        self._cell = cell
        self._lock = threading.Lock()
        self._waiting: defaultdict[tuple[Stream, str], list[int]] = defaultdict(list)
        client = mqtt.Client(CallbackAPIVersion.VERSION2, "stand-in", protocol=mqtt.MQTTv5)
        client.on_connect = lambda c, *_: c.subscribe(
            [(cell.topic(Channel.EVENT), 1), (cell.topic(Channel.IMAGE), 1)]
        )
        client.on_message = self._on_message
        client.connect("127.0.0.1", port)
        self._client = client

    def run(self) -> None:
        self._client.loop_start()
        while True:
            time.sleep(FLUSH_S)
            self._flush()

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        if message.topic.endswith(str(Channel.IMAGE)):
            pairs = getattr(message.properties, "UserProperty", [])
            header = ImageHeader.from_user_properties(pairs)
            key, seq = (Stream.IMAGES, str(header.boot_id)), header.seq
        else:
            event = json.loads(message.payload)
            key, seq = (Stream.RECORDS, event["boot_id"]), event["seq"]
        with self._lock:
            self._waiting[key].append(seq)

    def _flush(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, defaultdict(list)
        for (stream, boot_id), seqs in waiting.items():
            for start in range(0, len(seqs), MAX_ACKED):
                ack = IngestAck(
                    stream=stream,
                    boot_id=UUID(boot_id),
                    seqs=tuple(seqs[start : start + MAX_ACKED]),
                )
                topic = self._cell.topic(Channel.INGEST_ACK)
                self._client.publish(topic, ack.to_bytes(), qos=1)


if __name__ == "__main__":
    StandIn(int(sys.argv[1]), CellAddress.parse(sys.argv[2])).run()

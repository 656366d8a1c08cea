"""Faults to inject from outside, against real processes and a real broker."""

import contextlib
import itertools
import json
import random
import select
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

from models.contract.topics import CellAddress, Channel
from simulators.broker_link import BrokerAddress, BrokerLink
from simulators.errors import SimulatorError

CHUNK_BYTES = 65_536
POLL_S = 0.05
RECEIVE_PAUSE_S = 0.2

# --- payloads --------------------------------------------------------------------------------


def malformed_payloads(seed: int) -> Iterator[bytes]:
    """Endless payloads that keep no contract: NaN, huge integers, deep nesting, wrong schema."""
    rng = random.Random(seed)  # noqa: S311 - a test's noise, not a secret
    for index in itertools.count():
        yield _malformed(rng, index)


def _malformed(rng: random.Random, kind: int) -> bytes:
    candidates = (
        b"",
        bytes(rng.randrange(256) for _ in range(rng.randrange(1, 200))),
        b'{"schema_version":"1.0","seq":NaN}',
        b'{"seq":' + b"9" * rng.randrange(20, 4000) + b"}",
        b"[" * rng.randrange(100, 20_000),
        json.dumps({"schema_version": f"{rng.randrange(2, 99)}.0"}).encode(),
        json.dumps({"cell": "../../etc/passwd", "seq": -1, "body": {}}).encode(),
        json.dumps({"trigger_id": "x" * rng.randrange(65, 5000)}).encode(),
        b"\xff\xfe" + '{"seq":1}'.encode("utf-16-le"),
    )
    return candidates[kind % len(candidates)]


def send_garbage(
    broker: BrokerAddress, cell: CellAddress, *, count: int, seed: int, channel: Channel
) -> int:
    """Publish malformed payloads on one channel of a cell; how many were sent.

    Raises:
        SimulatorError: the broker does not answer.
    """
    link = BrokerLink(
        broker, f"garbage-{uuid4().hex[:8]}", subscriptions=(), on_message=lambda *_: None
    )
    link.start()
    try:
        for payload in itertools.islice(malformed_payloads(seed), count):
            link.publish(cell.topic(channel), payload)
        time.sleep(RECEIVE_PAUSE_S)
    finally:
        link.stop()
    return count


# --- network ---------------------------------------------------------------------------------


@dataclass(slots=True)
class NetworkConditions:
    """What the proxy does to the traffic; may be changed while it runs.

    Attributes:
        latency_s: Delay in each direction.
        is_black_hole: Nothing passes, and nobody is told (no RST).
        bytes_per_s: Limit in each direction; 0 for none.
    """

    latency_s: float = 0.0
    is_black_hole: bool = False
    bytes_per_s: float = 0.0


class NetworkProxy:
    """A TCP proxy on loopback that delays, throttles, swallows or cuts.

    Args:
        target: Where connections go.
        port: Own port on 127.0.0.1; 0 for any.

    Raises:
        SimulatorError: the port is taken.
    """

    def __init__(self, target: BrokerAddress, *, port: int = 0) -> None:
        self.conditions = NetworkConditions()
        self._target = target
        self._stopping = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        try:
            self._server = socket.create_server(("127.0.0.1", port))
        except OSError as error:
            raise SimulatorError(f"port {port} is taken: give another with --listen") from error
        self._server.settimeout(POLL_S)

    @property
    def port(self) -> int:
        """Own port."""
        return int(self._server.getsockname()[1])

    def start(self) -> None:
        """Accept connections from a thread."""
        threading.Thread(target=self._accept, name="network-proxy", daemon=True).start()

    def cut(self) -> None:
        """Close every connection that is open now; new ones are welcome."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for sock in sockets:
            _close(sock)

    def stop(self) -> None:
        """Cut everything and accept no more."""
        self._stopping.set()
        self.cut()
        self._server.close()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._server.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection((self._target.host, self._target.port), timeout=5)
        except OSError:
            _close(client)
            return
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._sockets |= {client, server}
        for source, sink in ((client, server), (server, client)):
            threading.Thread(
                target=self._pump, args=(source, sink), name="network-pump", daemon=True
            ).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while not self._stopping.is_set():
                if self.conditions.is_black_hole:
                    time.sleep(POLL_S)
                    continue
                if not select.select([source], [], [], POLL_S)[0]:
                    continue
                data = source.recv(CHUNK_BYTES)
                if not data:
                    break
                self._delay(len(data))
                sink.sendall(data)
        except (OSError, ValueError):
            pass  # one of the two sides closed: the other follows below
        _close(source)
        _close(sink)

    def _delay(self, num_bytes: int) -> None:
        conditions = self.conditions
        pause = conditions.latency_s
        if conditions.bytes_per_s > 0:
            pause += num_bytes / conditions.bytes_per_s
        if pause > 0:
            time.sleep(pause)


def _close(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it was not connected any more
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()

"""An MQTT v5 client that answers in under a millisecond and comes back by itself."""

import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from simulators.errors import SimulatorError

CONNECT_TIMEOUT_S = 5.0
KEEP_ALIVE_S = 10
MAX_RECONNECT_S = 2
"""A broker that was killed is back within a second or two."""

OnMessage = Callable[[str, bytes], None]


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where a broker listens."""

    host: str = "127.0.0.1"
    port: int = 1883

    @classmethod
    def parse(cls, text: str) -> "BrokerAddress":
        """Read ``host:port`` or ``host``.

        Raises:
            SimulatorError: the port is not a number of 1 to 65535.
        """
        host, _, port = text.partition(":")
        if port and not (port.isdigit() and 0 < int(port) < 65536):
            raise SimulatorError(f"broker {text!r} is not host:port")
        return cls(host or "127.0.0.1", int(port or 1883))


class _TimelyClient(mqtt.Client):
    """A client that lets what has a limited life end with the connection it was sent on.

    paho sends everything again by the next connection, however late that comes, and only a broker
    counts the life of a message down: an old trigger would look new to the station.
    """

    def _messages_reconnect_reset_out(self) -> None:
        with self._out_message_mutex:
            for mid, message in list(self._out_messages.items()):
                if hasattr(message.properties, "MessageExpiryInterval"):
                    del self._out_messages[mid]
        super()._messages_reconnect_reset_out()


class BrokerLink:
    """One connection; messages arrive on paho's thread and must be handled quickly.

    Args:
        address: The broker.
        client_id: Unique on the broker.
        subscriptions: Topic filters.
        on_message: Called with topic and payload.
        on_lost: Called when the connection is lost.
    """

    def __init__(
        self,
        address: BrokerAddress,
        client_id: str,
        *,
        subscriptions: Sequence[str],
        on_message: OnMessage,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._address = address
        self._subscriptions = tuple(subscriptions)
        self._on_message = on_message
        self._on_lost = on_lost
        self._ready = threading.Event()
        self._client = _TimelyClient(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5
        )
        self._client.reconnect_delay_set(min_delay=1, max_delay=MAX_RECONNECT_S)
        self._client.on_socket_open = _without_delay
        self._client.on_connect = self._connected
        self._client.on_subscribe = self._subscribed
        self._client.on_disconnect = self._disconnected
        self._client.on_message = self._received

    def start(self) -> None:
        """Connect, and keep connecting.

        Raises:
            SimulatorError: nobody answers at the address.
        """
        try:
            self._client.connect(
                self._address.host, self._address.port, KEEP_ALIVE_S, clean_start=True
            )
        except OSError as error:
            raise SimulatorError(
                f"no MQTT broker at {self._address.host}:{self._address.port}"
                f" ({error.strerror or error}): start one or give --broker"
            ) from error
        self._client.loop_start()
        if not self.wait_ready(CONNECT_TIMEOUT_S):
            self.stop()
            raise SimulatorError(
                f"{self._address.host}:{self._address.port} does not answer as an MQTT v5 broker"
            )

    def stop(self) -> None:
        """Say goodbye and end the thread."""
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def is_ready(self) -> bool:
        """Connected and subscribed."""
        return self._ready.is_set()

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until connected and subscribed; whether that came true."""
        return self._ready.wait(timeout_s)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        expiry_s: int | None = None,
        user_properties: Sequence[tuple[str, str]] = (),
        retain: bool = False,
    ) -> None:
        """Send at QoS 1 without waiting.

        Args:
            topic: Where to.
            payload: The bytes.
            expiry_s: How long the broker may deliver it; a lost connection ends that, too. Without
                it the message is sent again by the next connection.
            user_properties: MQTT v5 properties.
            retain: Whether the broker keeps it for those who subscribe later.
        """
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if expiry_s is not None:
            properties.MessageExpiryInterval = expiry_s
        if user_properties:
            properties.UserProperty = list(user_properties)
        self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)

    def _connected(
        self,
        client: mqtt.Client,
        _userdata: object,
        _flags: object,
        reason: ReasonCode,
        _properties: object,
    ) -> None:
        if reason.is_failure:
            return
        if not self._subscriptions:
            self._ready.set()
            return
        options = SubscribeOptions(qos=1)
        client.subscribe([(topic, options) for topic in self._subscriptions])

    def _subscribed(self, *_: object) -> None:
        self._ready.set()

    def _disconnected(self, *_: object) -> None:
        was_ready = self._ready.is_set()
        self._ready.clear()
        if was_ready:
            self._on_lost()

    def _received(self, _client: object, _userdata: object, message: mqtt.MQTTMessage) -> None:
        self._on_message(message.topic, bytes(message.payload))


def _without_delay(_client: object, _userdata: object, sock: object) -> None:
    # With Nagle's algorithm on, a trigger comes back after 40 to 80 ms instead of 1.
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

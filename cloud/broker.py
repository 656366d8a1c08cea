"""A connection to the uplink broker that comes back by itself."""

import logging
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from cloud.errors import ConfigurationError
from cloud.mqtt_client import GulpingClient, Publication
from cloud.settings import BrokerSettings

LOGGER = logging.getLogger(__name__)
FIRST_RECONNECT_S = 0.2
MAX_INFLIGHT = 1_000
_SESSION_TAKEN_OVER = 142


class BrokerLink:
    """One MQTT v5 client with a network thread of its own.

    Subscriptions are made again at each connection. Callbacks run on the network thread: while one
    works, nothing is read.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        client_id: str,
        *,
        manual_ack: bool = False,
        receive_maximum: int | None = None,
        session_expiry_s: int = 0,
    ) -> None:
        """Prepare the client; nothing is connected yet.

        Raises:
            ConfigurationError: a TLS file cannot be used.
        """
        self._settings = settings
        self._subscriptions: list[str] = []
        self._stopping = threading.Event()
        self._properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        self._properties.SessionExpiryInterval = session_expiry_s
        if receive_maximum is not None:
            self._properties.ReceiveMaximum = min(receive_maximum, 65_535)
        self._is_clean = session_expiry_s == 0
        self.generation = 0
        """Counts connections: a packet identifier means nothing on another connection."""
        self.taken_over = threading.Event()
        """Set when another process connects under the same client id."""
        self.on_publications: Callable[[Sequence[Publication]], None] = lambda _publications: None
        self.on_connected: Callable[[], None] = lambda: None
        self.client = self._make_client(client_id, manual_ack=manual_ack)
        self._thread = threading.Thread(target=self._run, name=f"{client_id}-network", daemon=True)

    def _make_client(self, client_id: str, *, manual_ack: bool) -> GulpingClient:
        settings = self._settings
        client = GulpingClient(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=mqtt.MQTTv5,
            manual_ack=manual_ack,
        )
        client.max_inflight_messages_set(MAX_INFLIGHT)
        client.reconnect_delay_set(FIRST_RECONNECT_S, settings.reconnect_cap_s)  # type: ignore[arg-type]
        if settings.username is not None:
            password = settings.password.get_secret_value() if settings.password else None
            client.username_pw_set(settings.username, password)
        if settings.ca_file is not None:
            try:
                client.tls_set_context(_tls_context(settings))
            except (OSError, ssl.SSLError) as error:
                raise ConfigurationError(f"broker: a TLS file cannot be used: {error}") from error
        client.on_socket_open = _set_no_delay
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publications = self._on_publications
        return client

    def subscribe(self, topic: str) -> None:
        """Ask for a topic at each connection from now on."""
        self._subscriptions.append(topic)

    def start(self) -> None:
        """Connect in the background, for as long as it takes."""
        self.client.connect_async(
            self._settings.host,
            self._settings.port,
            keepalive=self._settings.keep_alive_s,
            clean_start=self._is_clean,
            properties=self._properties,
        )
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Disconnect; what is being sent gets a moment to leave."""
        self._stopping.set()
        self.client.disconnect()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    @property
    def is_connected(self) -> bool:
        """Whether the broker accepted this client."""
        return bool(self.client.is_connected())

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Send at QoS 1 where there is a connection; False: nothing was sent or queued."""
        # paho queues without bound while offline, and forgets it all when the process dies.
        if not self.is_connected:
            return False
        info = self.client.publish(topic, payload, qos=1, retain=retain)
        return info.rc == mqtt.MQTT_ERR_SUCCESS

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Send PUBACK for messages of this connection; those of an earlier one need none."""
        if self.is_connected:
            self.client.ack_all(packet_ids)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.client.loop_forever(retry_first_connection=True)
            except Exception:  # the thread's boundary: a dead network thread would go unnoticed
                LOGGER.exception("network loop failed, starting it again")
            self._stopping.wait(FIRST_RECONNECT_S)

    def _on_connect(
        self,
        client: mqtt.Client,
        _data: object,
        _flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            LOGGER.error("broker refused the connection", extra={"reason": str(reason)})
            return
        self.generation += 1
        if self._subscriptions:
            client.subscribe([(topic, 1) for topic in self._subscriptions])
        LOGGER.info("connected to the broker", extra={"generation": self.generation})
        self.on_connected()

    def _on_publications(self, publications: Sequence[Publication]) -> None:
        self.on_publications(publications)

    def _on_disconnect(
        self,
        _client: mqtt.Client,
        _data: object,
        _flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if self._stopping.is_set():
            return
        if reason.value == _SESSION_TAKEN_OVER:
            self.taken_over.set()
        LOGGER.warning("lost the broker, trying again", extra={"reason": str(reason)})


def _tls_context(settings: BrokerSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ca_file)
    if settings.cert_file is not None:
        context.load_cert_chain(settings.cert_file, settings.key_file)
    return context


def _set_no_delay(_client: mqtt.Client, _data: object, connection: Any) -> None:  # noqa: ANN401
    # Nagle's algorithm and delayed ACKs together hold back small messages for 40 ms.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

"""One MQTT v5 session with a broker: connects, reconnects, and is rebuilt when its thread dies.

Used by the uplink; the PLC link may use it too. Callbacks run on the network thread, so the
listener must only enqueue.
"""

import logging
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.errors import ConfigurationError
from edge_agent.priority import be_patient

logger = logging.getLogger(__name__)

FIRST_RECONNECT_S = 1
STOP_TIMEOUT_S = 5.0
# paho ignores the broker's Receive Maximum, and a broker may hang up on who goes beyond it.
# 20 is mosquitto's default.
MAX_INFLIGHT = 20
# paho asks after one period of silence and waits for a second one: a dead line is noticed after
# two. The broker gives up after one and a half of what it was told, and so shall we.
KEEP_ALIVE_SHARE = 0.75
PACKET_OVERHEAD_BYTES = 2_048
"""Topic, properties and header that come on top of a payload."""


@dataclass(frozen=True, slots=True)
class BrokerAccess:
    """Where the broker is and how to log in.

    Attributes:
        session_expiry_s: how long the broker keeps our session, and what it queues for us, after
            the connection is lost; 0: nothing, each connection begins anew, and what was on its
            way to the broker is not sent again either.
    """

    host: str
    port: int
    client_id: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    keep_alive_s: int = 15
    reconnect_max_s: float = 10.0
    session_expiry_s: int = 86_400


@dataclass(frozen=True, slots=True)
class Connected:
    """The broker took us in; subscriptions are asked for again."""

    max_payload_bytes: int | None
    """What the broker accepts; None: it names no limit."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection was lost or refused; it is tried again without end."""

    cause: str


@dataclass(frozen=True, slots=True)
class Received:
    """A message to one of our subscriptions."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Published:
    """The broker answered a QoS 1 publish; ``cause`` says why it did not take it."""

    mid: int
    cause: str | None


ConnectionEvent = Connected | Disconnected | Received | Published


class _PromptClient(mqtt.Client):
    """A client whose publishing thread may write to the socket itself.

    paho's own way wakes the network thread, which then has to wait for the interpreter: 1 ms on
    a machine that is busy with the end of a cycle.

    Args:
        client_id: unique on the broker.
        keeps_unanswered: whether what the broker has not answered for is sent again by the next
            connection, as paho does even where the session is a new one.
    """

    def __init__(self, client_id: str, *, keeps_unanswered: bool) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5)
        self._writing = threading.Lock()
        self._keeps_unanswered = keeps_unanswered

    def write_now(self) -> None:
        """Send what is queued; what cannot go now is left to the network thread."""
        # Whoever holds the lock sends ours too, or is woken once more by paho's own signal.
        if self._sock is not None and self._writing.acquire(blocking=False):
            try:
                super()._packet_write()
            finally:
                self._writing.release()

    def _packet_write(self) -> MQTTErrorCode:
        with self._writing:
            return super()._packet_write()

    def _messages_reconnect_reset_out(self) -> None:
        if not self._keeps_unanswered:
            with self._out_message_mutex:
                self._out_messages.clear()
        super()._messages_reconnect_reset_out()


class MqttConnection:
    """A session that lasts as long as the process.

    Args:
        access: where to connect.
        listener: called on the network thread; must only enqueue.
        subscriptions: topics, at QoS 1.
        last_will: topic and payload that the broker publishes, retained, when we are lost.
        is_prompt: whether somebody waits for what is published: `publish` then writes to the
            socket itself instead of waking the network thread (not with TLS, whose connection two
            threads may not use at once); else that thread lets others go on computing.

    Raises:
        ConfigurationError: a TLS file cannot be used.
    """

    def __init__(
        self,
        access: BrokerAccess,
        *,
        listener: Callable[[ConnectionEvent], None],
        subscriptions: Sequence[str] = (),
        last_will: tuple[str, bytes] | None = None,
        is_prompt: bool = False,
    ) -> None:
        self._access = access
        self._last_will = last_will
        self._listener = listener
        self._subscriptions = [(topic, 1) for topic in subscriptions]
        self._tls = _tls_context(access)
        self._is_prompt = is_prompt
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._newest: mqtt.MQTTMessageInfo | None = None
        self._num_published = self._num_answered = 0
        self._client = self._build()

    def start(self) -> None:
        """Connect in the background, for as long as it takes."""
        # Not a thread of our own round loop_forever(): without loop_start() paho writes to the
        # socket from the publishing thread as well, unlocked, and may tear a packet.
        self._client.loop_start()

    def stop(self, linger_s: float = STOP_TIMEOUT_S) -> None:
        """Disconnect in good order: what was published last still arrives.

        Args:
            linger_s: wait for that, and once more for the end of the connection; a line that died
                without a word takes all of it.
        """
        self._stopping.set()
        if self._newest is not None and self.is_connected:
            # paho lets what waits behind MAX_INFLIGHT fall when it disconnects.
            self._newest.wait_for_publish(linger_s)
        self._client.disconnect()
        if self._thread is not None:
            self._thread.join(linger_s)

    @property
    def is_connected(self) -> bool:
        """Whether the broker accepts messages now."""
        return bool(self._client.is_connected()) and not self._has_died()

    @property
    def num_unanswered(self) -> int:
        """Messages that were published and that the broker has not answered for."""
        return max(self._num_published - self._num_answered, 0)

    def ensure_alive(self) -> bool:
        """Build a new client if the network thread has died; true when it had to."""
        # is_connected() of a client whose thread died stays true for ever.
        if not self._has_died() or self._stopping.is_set():
            return False
        logger.error("mqtt network thread died, building a new client")
        self._thread = None
        self._newest = None
        self._num_published = self._num_answered = 0
        self._client = self._build()
        self._client.loop_start()
        return True

    def _has_died(self) -> bool:
        return self._thread is not None and not self._thread.is_alive()

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        expiry_s: int | None = None,
        content_type: str | None = None,
        user_properties: Sequence[tuple[str, str]] = (),
    ) -> int | None:
        """Send at QoS 1 without waiting.

        Args:
            topic: where to.
            payload: the bytes.
            retain: whether the broker keeps it for those who subscribe later.
            expiry_s: after this time the broker no longer delivers it.
            content_type: MQTT v5 property.
            user_properties: MQTT v5 properties.

        Returns:
            The message's id, which `Published` names later; None: there is no connection.
        """
        if not self.is_connected:
            return None
        properties = _properties(expiry_s, content_type, tuple(user_properties))
        info = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        if info.rc != mqtt.MQTT_ERR_SUCCESS:
            return None
        self._newest = info
        self._num_published += 1
        if self._is_prompt and self._tls is None:
            self._client.write_now()
        return info.mid

    def _build(self) -> _PromptClient:
        access = self._access
        client = _PromptClient(access.client_id, keeps_unanswered=access.session_expiry_s > 0)
        client.max_inflight_messages_set(MAX_INFLIGHT)
        client.reconnect_delay_set(
            FIRST_RECONNECT_S, max(FIRST_RECONNECT_S, round(access.reconnect_max_s))
        )
        if access.username is not None:
            client.username_pw_set(access.username, access.password)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        if self._last_will is not None:
            topic, payload = self._last_will
            client.will_set(topic, payload, qos=1, retain=True)
        client.on_socket_open = _set_no_delay
        client.on_pre_connect = self._on_pre_connect
        client.on_connect = self._on_connect
        client.on_connect_fail = lambda _client, _data: self._listener(
            Disconnected(f"{access.host}:{access.port} does not answer")
        )
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = access.session_expiry_s
        # clean_start defaults to a clean first connection, which would throw away what the
        # broker has queued for us.
        client.connect_async(
            access.host,
            access.port,
            keepalive=max(1, int(access.keep_alive_s * KEEP_ALIVE_SHARE)),
            clean_start=access.session_expiry_s == 0,
            properties=properties,
        )
        return client

    def _on_pre_connect(self, _client: mqtt.Client, _data: object) -> None:
        self._thread = threading.current_thread()
        self._thread.name = f"{self._access.client_id}-network"
        if not self._is_prompt:
            be_patient()

    def _on_connect(
        self,
        client: mqtt.Client,
        _data: object,
        _flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._listener(Disconnected(f"the broker refuses us: {reason}"))
            return
        if self._subscriptions:
            client.subscribe(self._subscriptions)
        limit = getattr(properties, "MaximumPacketSize", None)
        self._listener(Connected(None if limit is None else limit - PACKET_OVERHEAD_BYTES))

    def _on_disconnect(
        self,
        _client: mqtt.Client,
        _data: object,
        _flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._listener(Disconnected(str(reason)))

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        self._listener(Received(message.topic, bytes(message.payload)))

    def _on_publish(
        self,
        _client: mqtt.Client,
        _data: object,
        mid: int,
        reason: ReasonCode,
        _properties: Properties,
    ) -> None:
        self._num_answered += 1
        self._listener(Published(mid, str(reason) if reason.is_failure else None))


@lru_cache(maxsize=32)
def _properties(
    expiry_s: int | None, content_type: str | None, user_properties: tuple[tuple[str, str], ...]
) -> Properties:
    # paho takes 0.1 ms to make one; thousands of records in a row have the same.
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if expiry_s is not None:
        properties.MessageExpiryInterval = expiry_s
    if content_type is not None:
        properties.ContentType = content_type
    if user_properties:
        properties.UserProperty = list(user_properties)
    return properties


def _set_no_delay(_client: mqtt.Client, _data: object, sock: object) -> None:
    # Nagle's algorithm against delayed acknowledgements costs 40 ms a round trip.
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _tls_context(access: BrokerAccess) -> ssl.SSLContext | None:
    if access.tls_ca is None:
        return None
    try:
        context = ssl.create_default_context(cafile=access.tls_ca)
        if access.tls_cert is not None:
            context.load_cert_chain(access.tls_cert, access.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"a TLS file of the broker cannot be used: {error}") from error
    return context

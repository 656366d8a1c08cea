"""The way to the PLC: the cell broker, MQTT v5, QoS 1."""

import logging
from uuid import UUID

from edge_agent.adapters.mqtt_connection import (
    BrokerAccess,
    Connected,
    ConnectionEvent,
    Disconnected,
    MqttConnection,
    Received,
)
from edge_agent.mailbox import LinkChanged, Mailbox, PlcMessage
from edge_agent.ports import Clock
from models.contract.messages import Connection, Message, StationStatus
from models.contract.topics import CellAddress, Channel

logger = logging.getLogger(__name__)

FROM_PLC = (Channel.TRIGGER, Channel.RESULT_ACK, Channel.COMMAND)


class MqttPlcLink:
    """Puts what the PLC says into the mailbox, publishes what the station answers.

    Nothing is queued while the broker is away: an answer that arrives after its deadline helps
    nobody, and the station sends a held result again by itself.

    Raises:
        ConfigurationError: a TLS file cannot be used.
    """

    def __init__(
        self,
        access: BrokerAccess,
        *,
        cell: CellAddress,
        boot_id: UUID,
        mailbox: Mailbox,
        clock: Clock,
    ) -> None:
        self._mailbox = mailbox
        self._clock = clock
        self._is_connected = False
        self._is_stopping = False
        self._topics = {channel: cell.topic(channel) for channel in Channel}
        self._channels = {cell.topic(channel): channel for channel in FROM_PLC}
        will = StationStatus(cell=str(cell), connection=Connection.OFFLINE, boot_id=boot_id)
        self._connection = MqttConnection(
            access,
            listener=self._on_event,
            subscriptions=tuple(self._channels),
            last_will=(self._topics[Channel.STATE], will.to_bytes()),
            is_prompt=True,
        )

    def start(self) -> None:
        """Connect in the background, for as long as it takes."""
        self._connection.start()

    def stop(self) -> None:
        """Send what is on the way and disconnect; the last will stays unsaid."""
        self._is_stopping = True
        self._connection.stop()

    def ensure_alive(self) -> None:
        """Build a new client if the network thread has died; call now and then."""
        self._connection.ensure_alive()

    @property
    def is_connected(self) -> bool:
        """Whether the cell's broker is reachable now."""
        return self._connection.is_connected

    def send(self, channel: Channel, message: Message, *, expiry_s: int | None = None) -> None:
        """Publish at QoS 1 without waiting; ``state`` is retained, nothing else is."""
        self._connection.publish(
            self._topics[channel],
            message.to_bytes(),
            retain=channel is Channel.STATE,
            expiry_s=expiry_s,
        )

    def _on_event(self, event: ConnectionEvent) -> None:
        """On the network thread: only enqueues."""
        match event:
            case Received():
                channel = self._channels.get(event.topic)
                if channel is not None:
                    arrived_ns = self._clock.monotonic_ns()
                    self._mailbox.post_outside(PlcMessage(channel, event.payload, arrived_ns))
            case Connected():
                self._tell(is_connected=True, cause="")
            case Disconnected():
                self._tell(is_connected=False, cause=event.cause)

    def _tell(self, *, is_connected: bool, cause: str) -> None:
        if is_connected is self._is_connected:
            return  # each failed try to connect says so again
        self._is_connected = is_connected
        if is_connected:
            logger.info("cell broker connected")
        elif not self._is_stopping:
            logger.warning("cell broker lost: %s", cause)
        self._mailbox.post(LinkChanged(is_connected))

"""The uplink against a real broker and a cloud that commits before it acknowledges."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.adapters.mqtt_connection import BrokerAccess
from edge_agent.adapters.mqtt_uplink import MqttUplink, UplinkLimits
from edge_agent.outbox import SqliteOutbox
from edge_agent.ports import Picture
from models.contract.bundle import ModelRef
from models.contract.messages import (
    Command,
    CommandKind,
    DesiredModel,
    DesiredRecipe,
    Event,
    HardReason,
    ImageHeader,
    IngestAck,
    Reported,
    StationEvent,
    Stream,
)
from models.contract.recipe import Recipe, View
from models.contract.topics import CellAddress, Channel


class Broker(Protocol):
    """The broker fixture, which conftest.py makes."""

    port: int

    def start(self) -> None: ...

    def kill(self) -> None: ...


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CELL = CellAddress("plant", "hall", "line1", "cell1")
BOOT = uuid4()
WAIT_S = 20.0


def wait_until(condition: Callable[[], bool], timeout_s: float = WAIT_S) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class Cloud:
    """Stores by key, then acknowledges; it can be killed without a trace in the broker."""

    def __init__(self, port: int) -> None:
        self.records: dict[tuple[str, int], str] = {}
        self.images: dict[int, tuple[ImageHeader, bytes]] = {}
        self.reported: list[Reported] = []
        self.num_received = 0
        self._port = port
        self._client: mqtt.Client | None = None

    def start(self) -> None:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="cloud", protocol=mqtt.MQTTv5)
        client.on_message = self._on_message
        client.on_connect = lambda c, *_: c.subscribe(f"sightline/v1/{CELL}/up/#", qos=1)
        client.reconnect_delay_set(1, 1)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 600
        client.connect_async("127.0.0.1", self._port, clean_start=False, properties=properties)
        client.loop_start()
        self._client = client

    def stop(self) -> None:
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def publish(self, channel: Channel, payload: bytes, *, retain: bool = False) -> None:
        assert self._client is not None
        self._client.publish(CELL.topic(channel), payload, qos=1, retain=retain)

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        self.num_received += 1
        payload = bytes(message.payload)
        if message.topic == CELL.topic(Channel.EVENT):
            event = Event.from_bytes(payload)
            assert isinstance(event.body, StationEvent)
            self.records[str(event.boot_id), event.seq] = event.body.text
            ack = IngestAck(stream=Stream.RECORDS, boot_id=event.boot_id, seqs=(event.seq,))
        elif message.topic == CELL.topic(Channel.IMAGE):
            pairs = getattr(message.properties, "UserProperty", [])
            header = ImageHeader.from_user_properties(pairs)
            self.images[header.seq] = (header, payload)
            ack = IngestAck(stream=Stream.IMAGES, boot_id=header.boot_id, seqs=(header.seq,))
        else:
            self.reported.append(Reported.from_bytes(payload))
            return
        self.publish(Channel.INGEST_ACK, ack.to_bytes())


class Inbox:
    """Remembers what the cloud sent."""

    def __init__(self) -> None:
        self.models: list[DesiredModel] = []
        self.recipes: list[DesiredRecipe] = []
        self.commands: list[Command] = []

    def post_recipe(self, desired: DesiredRecipe) -> None:
        self.recipes.append(desired)

    def post_command(self, command: Command) -> None:
        self.commands.append(command)

    def post_event(self, event: StationEvent) -> None:
        """Not used by the uplink."""


@pytest.fixture
def cloud(broker: Broker) -> Iterator[Cloud]:
    cloud = Cloud(broker.port)
    cloud.start()
    yield cloud
    cloud.stop()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[SqliteOutbox]:
    box = SqliteOutbox(tmp_path / "outbox", cell=CELL, boot_id=BOOT)
    yield box
    box.close()


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def uplink(
    broker: Broker,
    outbox: SqliteOutbox,
    inbox: Inbox,
) -> Iterator[MqttUplink]:
    link = MqttUplink(
        access=BrokerAccess("127.0.0.1", broker.port, "edge", reconnect_max_s=1),
        cell=CELL,
        outbox=outbox,
        inbox=inbox,
        on_model=inbox.models.append,
        report=lambda: Reported(cell=str(CELL), boot_id=BOOT, agent_version="0", sent_at=NOON),
        monotonic_ns=time.monotonic_ns,
        limits=UplinkLimits(resend_s=1.0),
    )
    outbox.on_append = link.wake
    link.start()
    yield link
    link.stop()


def append(outbox: SqliteOutbox, count: int) -> None:
    for number in range(count):
        outbox.append_record(StationEvent(code="test", text=str(number)), created_at=NOON)


def make_picture(data: bytes) -> Picture:
    return Picture(
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        width_px=4,
        height_px=3,
        result_id=uuid4(),
        part_id="P1",
        view="main",
        created_at=NOON,
        hard_reasons=(HardReason.NOVELTY, HardReason.AUDIT),
    )


def is_empty(outbox: SqliteOutbox) -> bool:
    return outbox.num_records() == outbox.num_images() == 0


def test_rows_leave_the_outbox_once_the_cloud_has_them(
    cloud: Cloud, outbox: SqliteOutbox, uplink: MqttUplink
) -> None:
    append(outbox, 300)
    outbox.append_image(make_picture(b"\xff\xd8 raw bytes \x00"))
    assert wait_until(lambda: is_empty(outbox))
    assert len(cloud.records) == 300
    header, data = cloud.images[1]
    assert data == b"\xff\xd8 raw bytes \x00"
    assert header.hard_reasons == (HardReason.NOVELTY, HardReason.AUDIT)
    assert uplink.is_connected


def test_nothing_is_lost_when_the_cloud_and_then_the_broker_are_killed(
    broker: Broker,
    cloud: Cloud,
    outbox: SqliteOutbox,
    uplink: MqttUplink,
) -> None:
    line = threading.Thread(target=append, args=(outbox, 600))
    line.start()
    assert wait_until(lambda: len(cloud.records) > 50)
    # Whoever trusts PUBACK loses here: the broker takes rows that nobody stores, then dies.
    cloud.stop()
    time.sleep(0.3)
    broker.kill()
    line.join()
    broker.start()
    cloud.start()
    assert wait_until(lambda: is_empty(outbox)), outbox.counts()
    assert len(cloud.records) == 600
    assert uplink.is_connected


def test_desired_state_and_commands_are_handed_on_and_rubbish_is_ignored(
    cloud: Cloud, uplink: MqttUplink, inbox: Inbox
) -> None:
    model = ModelRef(release=3, bundle_id="0" * 16, name="plate")
    desired = DesiredModel(model=model, rollout_id="R1", issued_at=NOON)
    command = Command(command_id="C1", kind=CommandKind.STOP)
    assert wait_until(lambda: uplink.is_connected)
    cloud.publish(Channel.DESIRED_MODEL, b"{rubbish", retain=True)
    cloud.publish(Channel.DESIRED_MODEL, desired.to_bytes(), retain=True)
    recipe = Recipe(
        recipe_id="plate",
        version=4,
        part_type="plate",
        image_width_px=640,
        image_height_px=512,
        views=(View(camera_features={"ExposureTime": 800}),),
    )
    pushed = DesiredRecipe(recipe=recipe, issued_at=NOON)
    cloud.publish(Channel.DESIRED_RECIPE, b'{"recipe": {"version": "new"}}', retain=True)
    cloud.publish(Channel.DESIRED_RECIPE, pushed.to_bytes(), retain=True)
    cloud.publish(Channel.CLOUD_COMMAND, command.to_bytes())
    assert wait_until(lambda: inbox.commands == [command])
    assert inbox.models == [desired]
    assert inbox.recipes == [pushed]


def test_reported_state_is_published_on_connecting_and_on_every_change(
    cloud: Cloud, uplink: MqttUplink
) -> None:
    assert wait_until(lambda: len(cloud.reported) >= 1)
    uplink.report_now()
    assert wait_until(lambda: len(cloud.reported) >= 2)


def test_picture_that_is_too_large_is_set_aside_and_the_next_one_arrives(
    cloud: Cloud, outbox: SqliteOutbox, uplink: MqttUplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.adapters.mqtt_uplink.MAX_IMAGE_BYTES", 1_000)
    outbox.append_image(make_picture(b"x" * 2_000))
    outbox.append_image(make_picture(b"small"))
    assert wait_until(lambda: is_empty(outbox))
    assert [data for _, data in cloud.images.values()] == [b"small"]
    assert outbox.counts().quarantined == 1
    assert uplink.is_connected


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_uplink_goes_on_with_a_new_client_when_its_network_thread_dies(
    cloud: Cloud, outbox: SqliteOutbox, uplink: MqttUplink
) -> None:
    assert wait_until(lambda: uplink.is_connected)
    dead = uplink._connection._thread
    client = uplink._connection._client
    assert dead is not None
    # An exception in a callback ends paho's thread, while is_connected() goes on saying yes.
    client.on_publish = lambda *_: 1 / 0  # type: ignore[assignment]
    append(outbox, 20)
    assert wait_until(lambda: not dead.is_alive())
    assert wait_until(lambda: is_empty(outbox))
    assert len(cloud.records) == 20

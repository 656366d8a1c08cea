"""The handshake over a real broker: a scripted PLC, a fake camera and a fake detector."""

import queue
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar
from uuid import UUID, uuid4

import numpy as np
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.adapters.mqtt_connection import BrokerAccess
from edge_agent.adapters.mqtt_plc import MqttPlcLink
from edge_agent.assembly import Core, World, assemble
from edge_agent.clock import SystemClock
from edge_agent.errors import CameraFault, FeatureRefusedError, GrabTimeoutError
from edge_agent.ports import CycleOutcome, Frame, LoadedModel, Picture, RecordBody
from edge_agent.recipes import RecipeBook
from edge_agent.recorder import Learning
from edge_agent.sections import (
    CameraSettings,
    CellSettings,
    RecipeSettings,
    RecorderSettings,
    StationSettings,
)
from edge_agent.settings import Settings
from edge_agent.telemetry import Telemetry
from models.contract.bundle import BundleManifest, Category, ModelRef
from models.contract.messages import (
    Acquired,
    Command,
    CommandAck,
    CommandKind,
    Connection,
    DesiredRecipe,
    HardReason,
    Inspection,
    Message,
    PlcResult,
    ReasonCode,
    Rejection,
    ResultAck,
    StationEvent,
    StationState,
    StationStatus,
    Trigger,
    TriggerAck,
    Verdict,
)
from models.contract.recipe import ExpectedObject, ForbiddenDefect, ImageChecks, Recipe, View
from models.contract.topics import CellAddress, Channel
from models.detector.detections import Detections

CELL = CellAddress("plant", "area", "line1", "cell1")
CATEGORIES = ("bolt", "scratch")
PATIENCE_S = 10.0
M = TypeVar("M", bound=Message)


class Broker(Protocol):
    port: int


class FakeCamera:
    """Gives noise; can be slow, or gone."""

    camera_id = "fake"

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.is_gone = False
        self.num_grabs = 0
        self.features: dict[str, object] = {}
        self.seen_with: list[dict[str, object]] = []
        """Features that were in force at each grab."""
        self._rng = np.random.default_rng(1)

    def open(self) -> None:
        if self.is_gone:
            raise CameraFault(self.camera_id, "unplugged")

    def probe(self) -> None:
        pass

    def configure(self, features: Mapping[str, object]) -> None:
        for name in features:
            if name not in {"ExposureTime", "Gain"}:
                raise FeatureRefusedError(self.camera_id, f"has no feature {name}")
        self.features = dict(features)

    def grab(self, timeout_s: float, *, part_id: str | None = None) -> Frame:
        self.num_grabs += 1
        self.seen_with.append(self.features)
        if self.is_gone:
            raise CameraFault(self.camera_id, "unplugged")
        time.sleep(min(self.delay_s, timeout_s))
        if self.delay_s > timeout_s:
            raise GrabTimeoutError(self.camera_id, timeout_s)
        image = self._rng.integers(60, 200, (64, 80, 3), np.uint8)
        return Frame(image, self.num_grabs, datetime.now(UTC), part_id or "")

    def close(self) -> None:
        pass


class FakeDetector:
    """Finds what it is told to."""

    categories = CATEGORIES
    thresholds: ClassVar = {"bolt": 0.5, "scratch": 0.5}

    def __init__(self, score: float = 0.9) -> None:
        self.finds: list[tuple[int, float]] = [(0, score)]
        self.delay_s = 0.0

    def infer(self, image: object) -> Detections:  # noqa: ARG002
        time.sleep(self.delay_s)
        boxes = np.array([[10, 10, 20, 20]] * len(self.finds), np.float32).reshape(-1, 4)
        scores = np.array([score for _, score in self.finds], np.float32)
        return Detections(boxes, scores, np.array([index for index, _ in self.finds], np.int64))

    def close(self) -> None:
        pass


class MemoryOutbox:
    def __init__(self) -> None:
        self.records: list[RecordBody] = []
        self.pictures: list[Picture] = []

    def append_record(self, body: RecordBody, *, created_at: datetime) -> int:  # noqa: ARG002
        self.records.append(body)
        return len(self.records)

    def append_records(self, records: Sequence[tuple[RecordBody, datetime]]) -> None:
        self.records.extend(body for body, _ in records)

    def append_image(self, picture: Picture) -> int | None:
        self.pictures.append(picture)
        return len(self.pictures)

    def contains_result(self, result_id: UUID) -> bool:
        return any(getattr(body, "result_id", None) == result_id for body in self.records)

    def num_records(self) -> int:
        return len(self.records)

    def num_images(self) -> int:
        return len(self.pictures)

    @property
    def inspections(self) -> list[Inspection]:
        return [body for body in self.records if isinstance(body, Inspection)]


class KeepRejects:
    def choose(self, cycle: CycleOutcome) -> tuple[HardReason, ...]:
        return (HardReason.REJECT,) if cycle.verdict is Verdict.NOT_OK else ()

    def admit(self, reason: HardReason) -> bool:  # noqa: ARG002
        return True


class NoMemory:
    def add(self, cycle: CycleOutcome) -> None:
        pass

    def find(self, part_id: str) -> tuple[CycleOutcome, ...]:  # noqa: ARG002
        return ()


class Heard(queue.SimpleQueue[M]):
    """What the cell said on one channel."""

    def __init__(self, channel: Channel, kind: type[M]) -> None:
        self.topic = CELL.topic(channel)
        self._kind = kind

    def take_in(self, payload: bytes) -> None:
        self.put(self._kind.from_bytes(payload))

    def next(self) -> M:
        return self.get(timeout=PATIENCE_S)

    def is_silent(self, for_s: float) -> bool:
        try:
            self.get(timeout=for_s)
        except queue.Empty:
            return True
        return False


class ScriptedPlc:
    """Sends what a test tells it to, and keeps what the cell says, by channel."""

    def __init__(self, port: int) -> None:
        self.acks = Heard(Channel.ACK, TriggerAck)
        self.acquired = Heard(Channel.ACQUIRED, Acquired)
        self.results = Heard(Channel.RESULT, PlcResult)
        self.command_acks = Heard(Channel.COMMAND_ACK, CommandAck)
        self.states = Heard(Channel.STATE, StationStatus)
        heard: tuple[Heard[Any], ...]
        heard = (self.acks, self.acquired, self.results, self.command_acks, self.states)
        self._by_topic = {channel.topic: channel for channel in heard}
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=f"plc-{uuid4()}", protocol=mqtt.MQTTv5
        )
        self._client.on_message = self._on_message
        self._client.on_socket_open = _set_no_delay
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        for topic in self._by_topic:
            self._client.subscribe(topic, qos=1)

    def _on_message(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        self._by_topic[message.topic].take_in(bytes(message.payload))

    def send(self, channel: Channel, payload: bytes) -> None:
        self._client.publish(CELL.topic(channel), payload, qos=1)

    def trigger(
        self,
        trigger_id: str,
        *,
        part_id: str = "part-1",
        view: str = "main",
        recipe_id: str = "plate",
        deadline_ms: int | None = None,
    ) -> None:
        message = Trigger(
            trigger_id=trigger_id,
            part_id=part_id,
            view=view,
            recipe_id=recipe_id,
            deadline_ms=deadline_ms,
        )
        self.send(Channel.TRIGGER, message.to_bytes())

    def select(self, recipe_id: str) -> CommandAck:
        command_id = uuid4().hex
        command = Command(
            command_id=command_id, kind=CommandKind.SELECT_RECIPE, recipe_id=recipe_id
        )
        self.send(Channel.COMMAND, command.to_bytes())
        return self.command_acks.next()

    def acknowledge(self, trigger_id: str) -> None:
        self.send(Channel.RESULT_ACK, ResultAck(trigger_id=trigger_id).to_bytes())

    def run_part(
        self, trigger_id: str, *, view: str = "main", recipe_id: str = "plate"
    ) -> PlcResult:
        self.trigger(trigger_id, view=view, recipe_id=recipe_id)
        assert self.acks.next().rejection is None
        assert self.acquired.next().trigger_id == trigger_id
        result = self.results.next()
        self.acknowledge(trigger_id)
        return result

    def wait_for_state(self, wanted: Callable[[StationStatus], bool]) -> StationStatus:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            status = self.states.next()
            if wanted(status):
                return status
        pytest.fail("the station did not come into the expected state")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@dataclass
class Cell:
    core: Core
    link: MqttPlcLink
    camera: FakeCamera
    detector: FakeDetector
    outbox: MemoryOutbox = field(default_factory=MemoryOutbox)


def plate_recipe(**fields: object) -> Recipe:
    view = View(
        expected=(ExpectedObject(name="bolt 1", category="bolt"),),
        forbidden=(ForbiddenDefect(category="scratch"),),
    )
    values: dict[str, object] = {
        "recipe_id": "plate",
        "version": 1,
        "part_type": "plate",
        "image_width_px": 80,
        "image_height_px": 64,
        "deadline_ms": 4000,
        "image_checks": ImageChecks(),
        "views": (view,),
    }
    return Recipe.model_validate(values | fields)


def fake_model(detector: FakeDetector, release: int = 0) -> LoadedModel:
    manifest = BundleManifest(
        bundle_id=f"{release:016x}",
        name="fake",
        created_at=datetime.now(UTC),
        categories=tuple(Category(name=name) for name in CATEGORIES),
        thresholds=FakeDetector.thresholds,
        files={},
    )
    ref = ModelRef(release=release, bundle_id=manifest.bundle_id, name="fake")
    return LoadedModel(ref, manifest, detector, Path("nowhere"))


@pytest.fixture
def cell(broker: Broker, tmp_path: Path) -> Iterator[Cell]:
    settings = Settings(
        cell=CellSettings(site="plant", area="area", line="line1", cell="cell1"),
        camera=CameraSettings(path=tmp_path),
        recipe=RecipeSettings(path=tmp_path, selected="plate"),
        station=StationSettings(resend_result_s=0.4, hold_result_s=1.5, reconnect_s=0.1),
        recorder=RecorderSettings(journal=tmp_path / "journal"),
    )
    clock, boot_id = SystemClock(), uuid4()
    camera, detector, outbox = FakeCamera(), FakeDetector(), MemoryOutbox()
    access = BrokerAccess("127.0.0.1", broker.port, "cell1", session_expiry_s=60)
    recipes = {"plate": plate_recipe(), "cover": plate_recipe(recipe_id="cover")}
    two_views = (
        View(name="front"),
        View(
            name="back",
            forbidden=(ForbiddenDefect(category="scratch"),),
            camera_features={"ExposureTime": 800},
        ),
    )
    recipes["box"] = plate_recipe(recipe_id="box", views=two_views)
    wrong = (View(camera_features={"ExposureTme": 800}),)
    recipes["typo"] = plate_recipe(recipe_id="typo", views=wrong)
    world = World(
        boot_id=boot_id,
        clock=clock,
        camera=camera,
        model=fake_model(detector),
        book=RecipeBook(recipes, tmp_path / "recipes"),
        outbox=outbox,
        learning=Learning(KeepRejects(), NoMemory()),
        make_link=lambda mailbox: MqttPlcLink(
            access, cell=CELL, boot_id=boot_id, mailbox=mailbox, clock=clock
        ),
        telemetry=Telemetry(),
    )
    core = assemble(settings, world)
    assert isinstance(core.link, MqttPlcLink)
    core.link.start()
    core.start()
    yield Cell(core, core.link, camera, detector, outbox)
    core.stop()
    core.link.stop()


@pytest.fixture
def plc(broker: Broker, cell: Cell) -> Iterator[ScriptedPlc]:  # noqa: ARG001 - starts the cell
    plc = ScriptedPlc(broker.port)
    plc.wait_for_state(lambda status: status.station_state is StationState.READY)
    yield plc
    plc.close()


def test_good_part_goes_through_the_whole_handshake(cell: Cell, plc: ScriptedPlc) -> None:
    result = plc.run_part("t1")

    assert (result.trigger_id, result.verdict) == ("t1", Verdict.OK)
    assert plc.results.is_silent(0.6), "an acknowledged result is not sent again"
    (inspection,) = cell.outbox.inspections
    assert (inspection.part_id, inspection.result_id) == ("part-1", result.result_id)
    assert inspection.detections[0].category == "bolt"


def test_defect_and_absence_reject_the_part_with_their_reasons(
    cell: Cell, plc: ScriptedPlc
) -> None:
    cell.detector.finds = [(1, 0.8)]

    result = plc.run_part("t1")

    assert result.verdict is Verdict.NOT_OK
    codes = {reason.code for reason in result.reasons}
    assert codes == {ReasonCode.MISSING_OBJECT, ReasonCode.DEFECT}
    wait_until(lambda: bool(cell.outbox.inspections))
    (picture,), (inspection,) = cell.outbox.pictures, cell.outbox.inspections
    assert inspection.image_sha256 == picture.sha256


def test_repeated_trigger_gets_the_same_answer_and_no_second_picture(
    cell: Cell, plc: ScriptedPlc
) -> None:
    first = plc.run_part("t1")

    again = plc.run_part("t1")

    assert again == first
    assert cell.camera.num_grabs == 1


def test_trigger_while_busy_is_refused_at_once_and_counted(cell: Cell, plc: ScriptedPlc) -> None:
    cell.detector.delay_s = 0.5
    plc.trigger("t1")
    assert plc.acks.next().rejection is None

    plc.trigger("t2", part_id="part-2")

    assert plc.acks.next().rejection is Rejection.BUSY
    assert plc.results.empty(), "refused while the first part is still looked at"
    assert plc.results.next().trigger_id == "t1"
    plc.trigger("t3", part_id="part-3")
    assert plc.acks.next().rejection is Rejection.RESULT_PENDING
    assert plc.wait_for_state(lambda status: status.num_overruns == 2)


def test_unacknowledged_result_is_resent_then_given_up_with_an_alarm(plc: ScriptedPlc) -> None:
    plc.trigger("t1")

    first, second = plc.results.next(), plc.results.next()

    assert first == second
    status = plc.wait_for_state(lambda status: bool(status.alarms))
    assert status.alarms[0].code == "no_result_ack"
    assert status.station_state is StationState.READY


def test_malformed_trigger_is_refused_and_the_next_one_works(plc: ScriptedPlc) -> None:
    plc.send(Channel.TRIGGER, b"\xff{ nonsense")
    plc.send(Channel.TRIGGER, b'{"trigger_id": "t1", "part_id": ""}')

    ack = plc.acks.next()

    assert (ack.trigger_id, ack.rejection) == ("t1", Rejection.MALFORMED)
    assert plc.run_part("t2").verdict is Verdict.OK


def test_no_picture_is_not_decidable_by_the_deadline(cell: Cell, plc: ScriptedPlc) -> None:
    cell.camera.delay_s = 10.0
    started = time.monotonic()

    plc.trigger("t1", deadline_ms=500)
    result = plc.results.next()

    # Twice the deadline, as the test's own threads wait for the processor, too.
    assert time.monotonic() - started < 1.0
    assert result.verdict is Verdict.NOT_DECIDABLE
    assert result.reasons[0].code is ReasonCode.NO_FRAME


def test_slow_model_is_never_a_late_ok(cell: Cell, plc: ScriptedPlc) -> None:
    cell.detector.delay_s = 1.0

    plc.trigger("t1", deadline_ms=400)
    assert plc.acquired.next().trigger_id == "t1"
    result = plc.results.next()
    plc.acknowledge("t1")

    assert result.verdict is Verdict.NOT_DECIDABLE
    assert result.reasons[0].code is ReasonCode.DEADLINE
    cell.detector.delay_s = 0.0
    plc.wait_for_state(lambda status: status.station_state is StationState.READY)
    assert plc.run_part("t2").verdict is Verdict.OK


def test_lost_camera_is_an_error_that_heals_by_itself(cell: Cell, plc: ScriptedPlc) -> None:
    cell.camera.is_gone = True
    plc.trigger("t1")
    result = plc.results.next()
    plc.acknowledge("t1")

    assert result.reasons[0].code is ReasonCode.CAMERA_FAULT
    status = plc.wait_for_state(lambda status: status.station_state is StationState.ERROR)
    assert status.alarms[0].code == "camera"
    cell.camera.is_gone = False
    plc.wait_for_state(lambda status: status.station_state is StationState.READY)
    assert plc.run_part("t2").verdict is Verdict.OK


def test_views_are_joined_into_the_verdict_on_the_part(cell: Cell, plc: ScriptedPlc) -> None:
    command = Command(command_id="c1", kind=CommandKind.SELECT_RECIPE, recipe_id="box")
    plc.send(Channel.COMMAND, command.to_bytes())
    assert plc.command_acks.next().accepted
    cell.detector.finds = [(1, 0.9)]

    back = plc.run_part("t1", view="back", recipe_id="box")
    front = plc.run_part("t2", view="front", recipe_id="box")

    assert (back.is_partial, back.verdict) == (True, Verdict.NOT_OK)
    assert (front.is_partial, front.verdict) == (False, Verdict.NOT_OK), "front alone was good"
    assert front.job_id == back.job_id


def test_each_view_is_seen_with_its_own_camera_features(cell: Cell, plc: ScriptedPlc) -> None:
    assert plc.select("box").accepted
    for number, view in enumerate(("back", "front", "back", "front")):
        result = plc.run_part(f"t{number}", view=view, recipe_id="box")
        assert (result.view, result.is_partial) == (view, view == "back")
        assert (result.recipe_id, result.recipe_version) == ("box", 1)
    assert cell.camera.seen_with == [{"ExposureTime": 800}, {}] * 2


def test_recipe_whose_features_the_camera_refuses_is_an_error_until_another_is_selected(
    plc: ScriptedPlc,
) -> None:
    assert plc.select("typo").accepted
    status = plc.wait_for_state(lambda status: status.station_state is StationState.ERROR)
    assert "has no feature ExposureTme (recipe typo, view main)" in status.alarms[0].cause
    assert "camera_features" in status.alarms[0].action
    assert plc.select("plate").accepted
    plc.wait_for_state(lambda status: status.station_state is StationState.READY)
    assert plc.run_part("t1").verdict is Verdict.OK


def test_recipe_from_the_cloud_is_tried_on_the_camera_before_it_comes_into_force(
    cell: Cell, plc: ScriptedPlc
) -> None:
    for version, feature in ((2, "ExposureTme"), (3, "Gain")):
        pushed = plate_recipe(version=version, views=(View(camera_features={feature: 1}),))
        desired = DesiredRecipe(recipe=pushed, issued_at=datetime.now(UTC))
        cell.core.access.post_recipe(desired)
        code = "recipe_refused" if version == 2 else "recipe_selected"
        wait_until(partial(_noted, cell, code, f"plate v{version}"))
    result = plc.run_part("t1")
    assert result.recipe_version == 3
    assert cell.camera.seen_with == [{"Gain": 1}]
    wait_until(lambda: bool(cell.outbox.inspections))
    assert cell.outbox.inspections[0].recipe_version == 3


def _noted(cell: Cell, code: str, text: str) -> bool:
    events = [record for record in list(cell.outbox.records) if isinstance(record, StationEvent)]
    return any(event.code == code and text in event.text for event in events)


def test_trigger_for_another_recipe_than_the_selected_is_refused(plc: ScriptedPlc) -> None:
    plc.trigger("t1", recipe_id="cover")

    assert plc.acks.next().rejection is Rejection.UNKNOWN_RECIPE
    command = Command(command_id="c1", kind=CommandKind.SELECT_RECIPE, recipe_id="nothing")
    plc.send(Channel.COMMAND, command.to_bytes())
    assert not plc.command_acks.next().accepted


def test_model_is_swapped_between_parts(cell: Cell, plc: ScriptedPlc) -> None:
    before = plc.run_part("t1")
    new = fake_model(FakeDetector(), release=7)

    old = cell.core.access.swap(new, timeout_s=PATIENCE_S)

    assert before.model is not None
    assert old is not None
    assert old.ref == before.model
    assert plc.run_part("t2").model == new.ref


def test_stopping_says_so(cell: Cell, plc: ScriptedPlc) -> None:
    cell.core.inspection.stop()

    plc.wait_for_state(lambda status: status.connection is Connection.STOPPED)


def _set_no_delay(_client: object, _data: object, sock: object) -> None:
    assert isinstance(sock, socket.socket)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.005)

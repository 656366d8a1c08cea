"""The learning services with their threads, at a real broker."""

from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt import subscribe

from cloud.db.session import Database
from cloud.image_store import ImageStore
from cloud.learning import LearningServices
from cloud.settings import Settings
from models.contract.messages import DesiredModel


@pytest.fixture
def learning(
    settings: Settings, database: Database, images: ImageStore, broker_port: int
) -> Iterator[LearningServices]:
    broker = settings.broker.model_copy(update={"port": broker_port, "reconnect_cap_s": 0.3})
    rollout = settings.rollout.model_copy(update={"check_period_s": 0.1})
    services = LearningServices(
        settings.model_copy(update={"broker": broker, "rollout": rollout}), database, images
    )
    services.start()
    yield services
    services.stop()


@pytest.fixture
def broker_port(request: pytest.FixtureRequest) -> int:
    port: int = request.getfixturevalue("broker").port
    return port


def retained(port: int, topic: str) -> DesiredModel:
    """Wait for what a cell finds on its topic when it connects now."""
    message = subscribe.simple(topic, qos=1, port=port, protocol=mqtt.MQTTv5)  # type: ignore[no-untyped-call]
    assert isinstance(message, mqtt.MQTTMessage)
    return DesiredModel.from_bytes(bytes(message.payload))


@pytest.mark.timeout(60)
def test_a_rollout_reaches_the_cell_even_when_the_broker_forgets_it(
    learning: LearningServices,
    make_bundle: Callable[..., Path],
    add_cell: Callable[..., str],
    request: pytest.FixtureRequest,
    settings: Settings,
) -> None:
    topic = f"sightline/v1/{add_cell('c1')}/down/model"
    release = learning.registry.add(make_bundle(), actor="anna").release
    learning.registry.approve(release, actor="anna")
    rollout = learning.fleet.start_rollout(release, actor="anna")
    broker = request.getfixturevalue("broker")
    desired = retained(broker.port, topic)
    assert desired.model.release == release
    assert desired.rollout_id == rollout.rollout_id
    broker.kill()
    broker.start()
    assert retained(broker.port, topic) == desired
    assert settings.tuf.root_file.read_bytes() == learning.repository.root_path.read_bytes()

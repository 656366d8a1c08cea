"""Rollouts over a real database: what each cell is told, and when."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from cloud.db.session import Database
from cloud.db.tables import Cell, ReleaseState, RolloutState
from cloud.desired import DesiredPublisher
from cloud.errors import ConflictError, InvalidError, NotFoundError
from cloud.fleet import Fleet
from cloud.registry import Registry
from cloud.rollout import WaveLimits
from cloud.rollout_controller import RolloutController
from cloud.settings import Settings
from cloud.tuf_repository import TufRepository
from models.contract.messages import DesiredModel, FollowMode, ModelPhase


@pytest.fixture
def registry(database: Database, settings: Settings, make_bundle: Callable[..., Path]) -> Registry:
    """Three approved releases with bundles of their own."""
    repository = TufRepository(settings.tuf)
    repository.ensure()
    made = Registry(database, repository=repository, bundles_dir=settings.retraining.bundles_dir)
    for text in ("one", "two", "three"):
        made.approve(made.add(make_bundle(text), actor="anna").release, actor="anna")
    return made


@pytest.fixture
def fleet(
    database: Database, registry: Registry, settings: Settings, clock: Callable[[], datetime]
) -> Fleet:
    return Fleet(database, registry=registry, settings=settings.rollout, now=clock)


@pytest.fixture
def controller(database: Database, clock: Callable[[], datetime]) -> RolloutController:
    return RolloutController(database, limits=WaveLimits(wave_timeout_s=60), now=clock)


def told(database: Database) -> dict[str, int]:
    """Release that each cell was told, by the last level of its name."""
    with database.read() as session:
        cells = session.query(Cell).order_by(Cell.cell).all()
    return {
        cell.cell.rpartition("/")[2]: cell.desired["model"]["release"] if cell.desired else 0
        for cell in cells
    }


def test_a_release_reaches_the_canary_first_and_the_others_after_its_success(
    fleet: Fleet, controller: RolloutController, database: Database, add_cell: Callable[..., str]
) -> None:
    add_cell("c1", online=False)
    add_cell("c2")
    add_cell("c3")
    rollout = fleet.start_rollout(1, actor="anna")
    controller.advance()
    assert told(database) == {"c1": 0, "c2": 1, "c3": 0}, "an online cell makes the better canary"
    add_cell("c2", runs=0, wants=1, phase=ModelPhase.SHADOW)
    controller.advance()
    assert told(database)["c3"] == 0
    add_cell("c2", runs=1, wants=1)
    controller.advance()
    assert told(database) == {"c1": 1, "c2": 1, "c3": 1}
    for cell in ("c1", "c3"):
        add_cell(cell, runs=1, wants=1)
    controller.advance()
    view = fleet.get(rollout.rollout_id)
    assert view.rollout.state is RolloutState.SUCCEEDED
    assert {row.phase for row in view.cells} == {"active"}


def test_a_failing_canary_stops_the_rollout_and_says_why(
    fleet: Fleet,
    controller: RolloutController,
    database: Database,
    add_cell: Callable[..., str],
    registry: Registry,
) -> None:
    add_cell("c1")
    add_cell("c2")
    rollout = fleet.start_rollout(2, actor="anna")
    controller.advance()
    add_cell(
        "c1",
        wants=2,
        rollout_id=rollout.rollout_id,
        phase=ModelPhase.ROLLED_BACK,
        error="golden check failed",
    )
    controller.advance()
    stopped = fleet.get(rollout.rollout_id).rollout
    assert stopped.state is RolloutState.STOPPED
    assert stopped.error is not None
    assert "golden check failed" in stopped.error
    assert told(database) == {"c1": 2, "c2": 0}
    assert registry.get(2).state is ReleaseState.APPROVED, "it was never rolled out whole"


def test_a_silent_wave_stops_after_its_timeout(
    fleet: Fleet,
    controller: RolloutController,
    add_cell: Callable[..., str],
    forward: Callable[[float], None],
) -> None:
    add_cell("c1")
    rollout = fleet.start_rollout(1, actor="anna")
    controller.advance()
    forward(61)
    controller.advance()
    assert fleet.get(rollout.rollout_id).rollout.state is RolloutState.STOPPED


def test_rolling_back_gives_the_old_bundle_a_higher_number_and_tells_all_at_once(
    fleet: Fleet,
    controller: RolloutController,
    database: Database,
    add_cell: Callable[..., str],
    registry: Registry,
) -> None:
    add_cell("c1")
    add_cell("c2")
    for release in (1, 2):
        fleet.start_rollout(release, actor="anna")
        for _ in range(3):
            controller.advance()
            for cell in ("c1", "c2"):
                add_cell(cell, runs=release, wants=release)
        controller.advance()
    assert registry.current() is not None
    back = fleet.roll_back(actor="ben")
    assert registry.get(back.release).rollback_of == 1
    controller.advance()
    assert told(database) == {"c1": 4, "c2": 4}
    assert registry.get(4).bundle_id == registry.get(1).bundle_id


def test_an_older_release_cannot_be_rolled_out_under_its_old_number(
    fleet: Fleet, controller: RolloutController, add_cell: Callable[..., str]
) -> None:
    add_cell("c1")
    fleet.start_rollout(2, actor="anna")
    controller.advance()
    with pytest.raises(ConflictError, match="were told release 2 already"):
        fleet.start_rollout(1, actor="anna")


def test_a_newer_rollout_supersedes_an_open_one(
    fleet: Fleet, controller: RolloutController, database: Database, add_cell: Callable[..., str]
) -> None:
    add_cell("c1")
    first = fleet.start_rollout(1, actor="anna")
    controller.advance()
    fleet.start_rollout(2, actor="anna")
    controller.advance()
    assert fleet.get(first.rollout_id).rollout.state is RolloutState.SUPERSEDED
    assert told(database) == {"c1": 2}


def test_pinned_and_paused_cells_are_left_alone_until_they_follow_again(
    fleet: Fleet, controller: RolloutController, database: Database, add_cell: Callable[..., str]
) -> None:
    pinned, paused = add_cell("c1"), add_cell("c2")
    add_cell("c3")
    fleet.set_mode(pinned, FollowMode.PIN, actor="anna", release=1)
    fleet.set_mode(paused, FollowMode.PAUSE, actor="anna")
    fleet.start_rollout(2, actor="anna")
    controller.advance()
    add_cell("c3", runs=2, wants=2)
    controller.advance()
    assert told(database) == {"c1": 1, "c2": 0, "c3": 2}
    fleet.set_mode(paused, FollowMode.FOLLOW, actor="anna")
    fleet.set_mode(pinned, FollowMode.FOLLOW, actor="anna")
    controller.advance()
    assert told(database) == {"c1": 2, "c2": 2, "c3": 2}


def test_pinning_to_an_older_release_gives_it_a_new_number(
    fleet: Fleet, add_cell: Callable[..., str], registry: Registry
) -> None:
    cell = add_cell("c1", runs=3)
    row = fleet.set_mode(cell, FollowMode.PIN, actor="anna", release=1)
    assert row.pinned_release == 4
    assert registry.get(4).bundle_id == registry.get(1).bundle_id
    with pytest.raises(InvalidError, match="only given with the mode pin"):
        fleet.set_mode(cell, FollowMode.FOLLOW, actor="anna", release=1)
    with pytest.raises(NotFoundError):
        fleet.set_mode("plant/area/line/gone", FollowMode.FOLLOW, actor="anna")


def test_a_cell_that_appears_later_is_told_what_the_fleet_follows(
    fleet: Fleet, controller: RolloutController, database: Database, add_cell: Callable[..., str]
) -> None:
    rollout = fleet.start_rollout(1, actor="anna")
    controller.advance()
    assert fleet.get(rollout.rollout_id).rollout.state is RolloutState.SUCCEEDED
    add_cell("c9")
    controller.advance()
    assert told(database) == {"c9": 1}


class RecordingLink:
    """A broker that remembers what it was sent, and can be away."""

    def __init__(self) -> None:
        self.generation = 1
        self.is_there = True
        self.sent: list[tuple[str, DesiredModel]] = []

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        assert retain
        if self.is_there:
            self.sent.append((topic, DesiredModel.from_bytes(payload)))
        return self.is_there


def test_desired_state_is_sent_once_and_again_after_each_reconnect(
    fleet: Fleet, controller: RolloutController, database: Database, add_cell: Callable[..., str]
) -> None:
    add_cell("c1")
    link = RecordingLink()
    publisher = DesiredPublisher(database, link)
    assert publisher.reconcile() == 0
    fleet.start_rollout(1, actor="anna")
    controller.advance()
    link.is_there = False
    assert publisher.reconcile() == 0
    link.is_there = True
    assert (publisher.reconcile(), publisher.reconcile()) == (1, 0)
    topic, desired = link.sent[0]
    assert topic == "sightline/v1/plant/area/line/c1/down/model"
    assert (desired.model.release, desired.mode) == (1, FollowMode.FOLLOW)
    link.generation += 1
    assert publisher.reconcile() == 1

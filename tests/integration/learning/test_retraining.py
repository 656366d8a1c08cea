"""A training run from labels to cells, with a stand-in for ``sightline-train``."""

import os
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from cloud.db.session import Database
from cloud.db.tables import ReviewStatus, RunState, TrainingRun
from cloud.errors import ConflictError
from cloud.image_store import ImageStore
from cloud.learning import LearningServices
from cloud.policy import RetrainingTrigger
from cloud.review_items import LabelledBox
from cloud.settings import Settings
from cloud.training_driver import TrainingDriver
from cloud.training_process import TrainingProcess, arguments, seconds_of
from models.contract.bundle import CategoryKind

TIMEOUT_S = 30.0
CLOSED = {RunState.SUCCEEDED, RunState.REFUSED, RunState.FAILED, RunState.CANCELLED}


@pytest.fixture
def settings(settings: Settings, trainer_command: tuple[str, ...]) -> Settings:
    retraining = settings.retraining.model_copy(
        update={
            "command": trainer_command,
            "min_new_labels": 3,
            "min_per_new_category": 1,
            "check_period_s": 0.2,
            "auto_promote": True,
        }
    )
    return settings.model_copy(update={"retraining": retraining})


@pytest.fixture
def new_learning(
    settings: Settings, database: Database, images: ImageStore
) -> Iterator[Callable[[], LearningServices]]:
    """Servers that follow one another on the same data; only the driver of runs is started."""
    made: list[LearningServices] = []

    def start() -> LearningServices:
        learning = LearningServices(settings, database, images)
        learning.repository.ensure()
        learning._driver.start()
        made.append(learning)
        return learning

    yield start
    for learning in made:
        learning._driver.stop()


@pytest.fixture
def learning(
    new_learning: Callable[[], LearningServices],
    base_snapshot: Path,
    make_bundle: Callable[..., Path],
    add_image: Callable[..., str],
) -> LearningServices:
    """A server with a running baseline and three new labels."""
    found = new_learning()
    found.datasets.register(str(base_snapshot), actor="anna")
    found.registry.approve(
        found.registry.add(make_bundle("baseline", "bolt"), actor="anna").release, actor="anna"
    )
    found.labeling.add_category("torn_label", CategoryKind.DEFECT, actor="anna")
    for number in range(3):
        found.labeling.save(
            add_image(number, "novelty"),
            decision=ReviewStatus.LABELLED,
            boxes=[LabelledBox("torn_label", (1, 1, 9, 9))],
            reviewer="anna",
        )
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)


def ended(learning: LearningServices, run: TrainingRun) -> TrainingRun:
    wait_for(lambda: learning.retraining.get(run.run_id).state in CLOSED)
    return learning.retraining.get(run.run_id)


def test_enough_labels_lead_to_a_signed_release_on_its_way_to_the_cells(
    learning: LearningServices,
) -> None:
    assert learning.retraining.consider(RetrainingTrigger.LABELS).start
    (run,) = learning.retraining.recent(limit=9)
    run = ended(learning, run)
    assert (run.state, run.error) == (RunState.SUCCEEDED, None)
    assert run.gates is not None
    assert all(gate["passed"] for gate in run.gates)
    assert run.report is not None
    assert run.report["candidate"]["map"] is None, "NaN has no place in a database"
    assert run.compared_bundle_id == learning.registry.get(1).bundle_id
    wait_for(lambda: bool(learning.fleet.recent(limit=1)))
    release = learning.registry.get(2)
    assert (release.state, release.run_id) == ("approved", run.run_id)
    assert release.lineage["snapshot_id"] == run.snapshot_id
    assert "plate/r000002.tar" in learning.repository.targets()
    details = learning.retraining.details(run.run_id)
    assert [event["step"] for event in details.history] == [1, 2]
    assert "warming up" in details.log_tail
    assert not learning.retraining.consider(RetrainingTrigger.LABELS).start, "labels are used up"


def test_a_candidate_that_is_worse_is_refused_with_the_reason(
    learning: LearningServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TRAINER", "worse")
    run = ended(learning, learning.retraining.request(actor="anna"))
    assert run.state is RunState.REFUSED
    assert run.error is not None
    assert "mAP@0.5 0.300 against 0.495" in run.error
    assert learning.registry.newest_number() == 1
    assert "resting" in learning.retraining.consider(RetrainingTrigger.SCHEDULE).reason


@pytest.mark.parametrize(
    ("behaviour", "cause"),
    [
        pytest.param("error", "the snapshot has no pictures to train on", id="says why"),
        pytest.param("crash", "ended with exit code 1: out of memory", id="leaves a log"),
        pytest.param("die", "was killed: warming up", id="killed twice"),
        pytest.param("die in the bundle", "was killed: warming up", id="killed in the bundle"),
    ],
)
def test_a_failure_is_explained_and_its_labels_count_again(
    learning: LearningServices, monkeypatch: pytest.MonkeyPatch, behaviour: str, cause: str
) -> None:
    monkeypatch.setenv("FAKE_TRAINER", behaviour)
    newest, bundles = learning.registry.newest_number(), learning.registry.bundle_dir("x").parent
    kept = sorted(bundles.iterdir()) if bundles.exists() else []
    run = ended(learning, learning.retraining.request(actor="anna"))
    assert run.state is RunState.FAILED
    assert run.error is not None
    assert cause in run.error
    assert learning.registry.newest_number() == newest
    assert (sorted(bundles.iterdir()) if bundles.exists() else []) == kept, "no half a model"
    used = learning.retraining.state()
    assert used.num_new_labels == 3


def test_a_trainer_that_was_killed_goes_on_once(
    learning: LearningServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TRAINER", "die once")
    run = ended(learning, learning.retraining.request(actor="anna"))
    assert run.state is RunState.SUCCEEDED
    assert run.parameters is not None
    assert run.parameters["starts"] == 2


def test_one_run_at_a_time_and_cancelling_ends_its_process(
    learning: LearningServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TRAINER", "hang")
    run = learning.retraining.request(actor="anna")
    wait_for(lambda: learning.retraining.get(run.run_id).pid is not None)
    pid = learning.retraining.get(run.run_id).pid
    assert pid is not None
    assert os.getpriority(os.PRIO_PROCESS, pid) >= 10, "cells come first"
    with pytest.raises(ConflictError, match="already in progress"):
        learning.retraining.request(actor="ben")
    learning.retraining.cancel(run.run_id, actor="ben")
    assert ended(learning, run).state is RunState.CANCELLED
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(ConflictError, match="has cancelled"):
        learning.retraining.cancel(run.run_id, actor="ben")


def test_a_server_that_stops_ends_the_run_and_the_next_one_takes_it_up(
    learning: LearningServices,
    new_learning: Callable[[], LearningServices],
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAKE_TRAINER", "hang once")
    run = learning.retraining.request(actor="anna")
    wait_for(lambda: learning.retraining.get(run.run_id).progress is not None)
    pid = learning.retraining.get(run.run_id).pid
    learning._driver.stop()
    assert not Path(f"/proc/{pid}").exists()
    assert learning.retraining.get(run.run_id).state is RunState.RUNNING
    with database.write() as session:  # nobody was there overnight: that is not its time
        row = session.get_one(TrainingRun, run.run_id)
        assert row.started_at is not None
        row.started_at -= timedelta(days=1)
    second = new_learning()
    assert ended(second, run).state is RunState.SUCCEEDED


def test_training_that_hangs_is_ended(
    learning: LearningServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TRAINER", "hang")
    monkeypatch.setattr(TrainingDriver, "_timeout", lambda _: timedelta(seconds=1))
    run = ended(learning, learning.retraining.request(actor="anna"))
    assert run.state is RunState.FAILED
    assert run.error is not None
    assert run.error.startswith("took longer than")


def test_a_process_that_outlived_its_server_is_followed_to_its_end(
    learning: LearningServices,
    new_learning: Callable[[], LearningServices],
    database: Database,
    trainer_command: tuple[str, ...],
    settings: Settings,
) -> None:
    learning._driver.stop()  # as if the server had been killed: the run below is none of its own
    run = learning.retraining.request(actor="anna")
    folder = Path(run.directory)
    snapshot = learning.datasets.build(actor="anna")
    command = [
        *trainer_command,
        *arguments(
            settings.retraining,
            snapshot_url=snapshot.url,
            run_dir=folder,
            init="none",
            name="plate",
            compare=None,
        ),
    ]
    process = TrainingProcess.start(command, folder, nice=0)
    with database.write() as session:
        row = session.get_one(TrainingRun, run.run_id)
        row.state, row.pid, row.snapshot_id = RunState.RUNNING, process.pid, snapshot.snapshot_id
        row.parameters = {"command": command, "starts": 1}
    wait_for(lambda: not process.is_alive())
    second = new_learning()
    run = ended(second, run)
    assert run.state is RunState.SUCCEEDED
    assert run.parameters is not None
    assert run.parameters["starts"] == 1


def test_nothing_to_start_from_is_told(new_learning: Callable[[], LearningServices]) -> None:
    learning = new_learning()
    with pytest.raises(ConflictError, match="no snapshot is registered"):
        learning.retraining.request(actor="anna")
    assert not learning.retraining.outlook().start


def test_training_gets_none_of_the_servers_secrets(
    learning: LearningServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_CLOUD__DATABASE__PASSWORD", "hunter2-long")
    monkeypatch.setenv("FAKE_TRAINER", "hang")
    run = learning.retraining.request(actor="anna")
    wait_for(lambda: learning.retraining.get(run.run_id).progress is not None)
    environment = Path(f"/proc/{learning.retraining.get(run.run_id).pid}/environ").read_bytes()
    assert b"FAKE_TRAINER" in environment
    assert b"hunter2-long" not in environment


def test_budget_is_read_in_its_unit() -> None:
    assert (seconds_of("90s"), seconds_of("4m"), seconds_of("1.5h")) == (90, 240, 5400)

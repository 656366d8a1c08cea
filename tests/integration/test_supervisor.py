"""The demonstration's processes: kept alive, ended with all that they started."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloud.settings import load_settings as load_cloud_settings
from edge_agent.settings import load_settings as load_edge_settings
from simulators.demo.plan import DemoPlan
from simulators.demo.processes import StoppedError, Supervisor, marked_processes
from simulators.demo.workshop import Workshop
from simulators.errors import SimulatorError
from simulators.recipes import plate_recipe

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    # A grandchild in a session of its own, as a training run is.
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],"
    " start_new_session=True)\n"
    "print('up', flush=True)\n"
    "time.sleep(60)",
]


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    monkeypatch.setattr("simulators.demo.processes.TERMINATE_S", 0.5)
    supervisor = Supervisor(tmp_path)
    yield supervisor
    supervisor.stop()


def wait_until(is_true: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_that_is_killed_comes_back(supervisor: Supervisor) -> None:
    supervisor.keep("sleeper", SLEEP)
    first = supervisor.pid("sleeper")
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: supervisor.pid("sleeper") != first)
    supervisor.check()


def test_nothing_is_left_behind_not_even_what_ignores_sigterm(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    supervisor.keep("stubborn", STUBBORN)
    wait_until(lambda: len(marked_processes(str(tmp_path))) == 2)
    supervisor.stop()
    assert marked_processes(str(tmp_path)) == []


def test_the_next_start_ends_what_a_killed_one_left(tmp_path: Path) -> None:
    first = Supervisor(tmp_path)
    first.keep("sleeper", SLEEP)
    wait_until(lambda: len(marked_processes(str(tmp_path))) == 1)
    second = Supervisor(tmp_path)
    wait_until(lambda: marked_processes(str(tmp_path)) == [])
    second.stop()
    first.stop()


def test_a_process_that_cannot_live_is_given_up_with_its_last_words(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulators.demo.processes.RESTART_PAUSE_S", 0.01)
    supervisor.keep("broken", [sys.executable, "-c", "raise SystemExit('no such port')"])
    wait_until(lambda: supervisor.has_failed)
    with pytest.raises(SimulatorError, match="no such port"):
        supervisor.check()


def test_a_task_that_fails_ends_with_its_last_words(supervisor: Supervisor) -> None:
    with pytest.raises(SimulatorError, match="import failed: wrong file"):
        supervisor.run("import", [sys.executable, "-c", "raise SystemExit('wrong file')"])


def test_no_task_begins_after_the_stop(supervisor: Supervisor) -> None:
    supervisor.stop_tasks()
    with pytest.raises(StoppedError):
        supervisor.run("import", SLEEP)


def test_what_the_demonstration_writes_is_what_the_programs_read(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    workshop = Workshop(DemoPlan(data_dir=tmp_path / "demo"))
    workshop.write_configuration(plate_recipe(), bundle)
    cloud = load_cloud_settings(workshop.cloud_config, environ={})
    assert cloud.broker.port == workshop.broker_port
    assert cloud.tuf.root_file == workshop.tuf_root
    for files in workshop.cells:
        edge = load_edge_settings(files.config)
        assert edge.cell.address == files.address
        assert edge.outbox.path == files.outbox
        assert edge.camera.path == files.spool
        assert edge.update.root == workshop.tuf_root
    workshop.close()


def test_two_demonstrations_cannot_share_a_folder(tmp_path: Path) -> None:
    plan = DemoPlan(data_dir=tmp_path / "demo")
    first = Workshop(plan)
    with pytest.raises(SimulatorError, match="already runs"):
        Workshop(plan)
    first.close()
    Workshop(plan).close()

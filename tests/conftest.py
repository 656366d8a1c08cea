"""Real parts that tests start for themselves: a broker and a database, on loopback only."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from simulators.ports import free_port

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared"
START_TIMEOUT_S = 20.0
LONG_FILES = {"test_training_on_spark.py"}


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process of ours listens."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"{process.args!r} ended with {process.returncode} before it listened")
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    pytest.fail(f"{process.args!r} did not listen on {port} within {START_TIMEOUT_S:g} s")


@dataclass
class Broker:
    """A mosquitto of the test's own; it can be killed and started again on the same port."""

    folder: Path
    executable: str
    port: int
    process: subprocess.Popen[bytes] | None = None
    host: str = "127.0.0.1"

    def start(self) -> None:
        config = self.folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} {self.host}\nallow_anonymous true\nset_tcp_nodelay true\n"
            "max_queued_messages 100000\nmax_inflight_messages 1000\nlog_type error\n"
        )
        self.process = subprocess.Popen([self.executable, "-c", str(config)])
        wait_for_port(self.port, self.process)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(START_TIMEOUT_S)
            self.process = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid


def find_mosquitto() -> str | None:
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take minutes: where two run at a time, the short ones fill up."""
    items.sort(key=lambda item: item.path.name not in LONG_FILES)


@pytest.fixture
def unused_port() -> int:
    """A TCP port for a server that the test starts."""
    return free_port()


@pytest.fixture
def mosquitto_program() -> str:
    """Path of mosquitto."""
    executable = find_mosquitto()
    if executable is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    return executable


@pytest.fixture
def new_broker(tmp_path: Path, mosquitto_program: str) -> Iterator[Callable[[], Broker]]:
    """Start as many brokers as a test needs; all of them are gone when it ends."""
    started: list[Broker] = []

    def start() -> Broker:
        folder = tmp_path / f"broker{len(started)}"
        folder.mkdir()
        broker = Broker(folder, mosquitto_program, free_port())
        started.append(broker)
        broker.start()
        return broker

    yield start
    for broker in started:
        broker.kill()


@pytest.fixture
def broker(new_broker: Callable[[], Broker]) -> Broker:
    """One mosquitto on a free port, TCP_NODELAY set, anonymous, loopback."""
    return new_broker()


def _postgresql_programs() -> Path | None:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A PostgreSQL of the tests' own; gives the URL of its maintenance database."""
    programs = _postgresql_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    # PostgreSQL refuses to run as root, so root hands it to the account that its package made.
    as_account = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="sightline-postgresql-"))
    if as_account:
        shutil.chown(folder, "postgres")
    port = free_port()
    data = folder / "data"
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    account = "postgres"
    run: list[list[str]] = [
        [str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", account, "-N"],
        [
            str(programs / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log"),
            "-o", options, "start",
        ],
    ]  # fmt: skip
    for command in run:
        subprocess.run([*as_account, *command], check=True, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        yield f"postgresql+psycopg://{account}@127.0.0.1:{port}/postgres"
    finally:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + START_TIMEOUT_S
        while (data / "postmaster.pid").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgresql_url(postgresql_server: str) -> str:
    """URL of an empty database that belongs to this test alone."""
    import psycopg

    name = f"test_{os.getpid()}_{time.monotonic_ns()}"
    plain = postgresql_server.replace("+psycopg", "")
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return postgresql_server.rsplit("/", 1)[0] + f"/{name}"

"""The servers that are measured: a broker, PostgreSQL and Sightline's own processes."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from simulators.ports import free_port

WAIT_S = 30.0
# Everything that a durable server has by default; room for sorting an index of ten million rows.
TUNING = (
    "-c shared_buffers=2GB -c maintenance_work_mem=1GB -c max_wal_size=8GB -c work_mem=32MB"
    " -c effective_cache_size=12GB -c random_page_cost=1.1 -c log_min_messages=error"
)


def wait_for_port(port: int) -> None:
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on {port}")


@contextmanager
def process(command: Sequence[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that is gone at the end."""
    with log.open("ab") as stream:
        running = subprocess.Popen(list(command), stdout=stream, stderr=stream)
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(20)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait(5)


def cloud(*arguments: str) -> list[str]:
    """Command line of ``sightline-cloud``."""
    return [sys.executable, "-m", "cloud.cli", *arguments]


@contextmanager
def broker(folder: Path) -> Iterator[int]:
    """A mosquitto; gives its port."""
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise SystemExit("mosquitto is not installed: apt-get install mosquitto")
    port, config = free_port(), folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n"
        "max_queued_messages 1000000\nmax_inflight_messages 1000\nlog_type error\n"
    )
    with process([program, "-c", str(config)], folder / "mosquitto.log"):
        wait_for_port(port)
        yield port


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A PostgreSQL with its data in ``folder``, kept from one run to the next; gives its URL."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
    if programs is None:
        raise SystemExit("PostgreSQL is not installed: apt-get install postgresql")
    # It refuses to run as root, so root hands it to the account that its package made.
    as_account = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    data, port = folder / "data", free_port()
    folder.mkdir(parents=True, exist_ok=True)
    if as_account:
        shutil.chown(folder, "postgres")
    if not (data / "PG_VERSION").exists():
        initdb = [str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres"]
        subprocess.run([*as_account, *initdb], check=True, stdout=subprocess.DEVNULL, cwd=folder)
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 {TUNING}"
    control = [*as_account, str(programs / "pg_ctl"), "-D", str(data), "-w"]
    if (data / "postmaster.pid").exists():  # of a bench that was killed
        subprocess.run([*control, "-m", "immediate", "stop"], check=False, cwd=folder)
    start = ["-t", "300", "-l", str(folder / "log"), "-o", options, "start"]
    subprocess.run([*control, *start], check=True, stdout=subprocess.DEVNULL, cwd=folder)
    try:
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    finally:
        stop = ["-m", "fast", "-t", "300", "stop"]
        subprocess.run([*control, *stop], check=True, stdout=subprocess.DEVNULL, cwd=folder)


def database_of(server: str, name: str) -> str:
    """A database, made where there is none; gives its URL."""
    with psycopg.connect(server.replace("+psycopg", ""), autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if known.fetchone() is not None:
            return server.rsplit("/", 1)[0] + f"/{name}"
    return new_database(server, name)


def new_database(server: str, name: str) -> str:
    """Make a database anew; gives its URL."""
    with psycopg.connect(server.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return server.rsplit("/", 1)[0] + f"/{name}"

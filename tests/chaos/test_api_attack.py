"""Row 23: whatever requests somebody sends to a real server, it never answers with 5xx."""

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cloud.db.migration import migrate
from cloud.db.session import Database
from simulators.chaos.stage import IS_FULL, Stage

# It cannot write ZIP files; `test_attacks` sends what they must be refused for.
OUT_OF_REACH = ("--exclude-path", "/v1/labels/import")
SHORT = ("--phases", "coverage,fuzzing", "-n", "2", "--max-time", "7", "--seed", "7")
FULL = ("--phases", "coverage,fuzzing,stateful", "-n", "60", "--max-time", "900")
START_TIMEOUT_S = 60.0
PROGRAMS = Path(sys.executable).parent
SETTINGS = """
[http]
port = {port}
requests_per_s = 100000
request_burst = 100000
[auth]
require_login = false
login_attempts_per_minute = 100000
[broker]
port = 1
[storage]
min_free_bytes = 0
[retraining]
enabled = false
"""


@pytest.fixture
def server(tmp_path: Path, unused_port: int) -> Iterator[str]:
    """A server that takes everybody for an administrator, so that every endpoint is reached."""
    config = tmp_path / "cloud.toml"
    config.write_text(SETTINGS.format(port=unused_port))
    with closing(Database(f"sqlite:///{tmp_path}/var/sightline.db")) as database:
        migrate(database)
    program = PROGRAMS / "sightline-cloud"
    log = (tmp_path / "serve.log").open("wb")
    process = subprocess.Popen([program, "serve", "-c", config], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", unused_port)) == 0:
                    break
            time.sleep(0.1)
        assert process.poll() is None, Path(log.name).read_text()[-2000:]
        yield f"http://127.0.0.1:{unused_port}"
        assert process.poll() is None, "the server did not live through it"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
        log.close()


def _attack(url: str, folder: Path, *options: str) -> str:
    """Run schemathesis; gives its report."""
    done = subprocess.run(
        [
            PROGRAMS / "schemathesis", "run", f"{url}/v1/openapi.json", "--no-color",
            "--checks", "not_a_server_error", "--generation-database", "none",
            "--continue-on-failure", *options,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-9000:] + done.stderr[-2000:]
    return done.stdout


def _num_selected(report: str) -> int:
    found = re.search(r"(\d+) selected", report)
    assert found is not None, report[-2000:]
    return int(found[1])


def test_generated_requests_find_no_server_error(server: str, tmp_path: Path, chaos: Stage) -> None:
    report = _attack(server, tmp_path, *OUT_OF_REACH, *(FULL if IS_FULL else SHORT))
    selected = _num_selected(report)
    assert selected > 70
    times = sum(int(number) for number in re.findall(r"(\d+) generated", report))
    chaos.row(23, "generated requests", times, "I6", f"{selected} operations, no answer of 5xx")

"""The serving process as a whole: it comes up, answers, and goes away cleanly."""

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from simulators.ports import free_port

START_TIMEOUT_S = 60.0


def _cli(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cloud.cli", *arguments]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def config(tmp_path: Path, port: int) -> Path:
    path = tmp_path / "cloud.toml"
    path.write_text(
        f"[http]\nport = {port}\n[auth]\nrequire_login = false\n"
        "[broker]\nport = 1\n[storage]\nmin_free_bytes = 0\n"
    )
    subprocess.run(_cli("migrate", "-c", str(path)), check=True, stdout=subprocess.DEVNULL)
    return path


@pytest.fixture
def server(config: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(_cli("serve", "-c", str(config)), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield process
    process.kill()
    process.communicate()


def test_serve_answers_and_ends_on_a_signal_with_nothing_left(
    server: subprocess.Popen[str], port: int
) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        readiness = client.get("/readyz")
        assert readiness.status_code == 200
        assert readiness.json()["parts"]["broker"] == "not connected"
        page = client.get("/")
        assert page.status_code == 200
        # A plant's network reaches no other host.
        hosts = set(re.findall(r"(?:src|href)=\"https?://([^/\"]+)", page.text))
        assert hosts == set()
        # Without login, only pages of this very machine may ask: a foreign name could be rebound.
        assert client.get("/v1/cells", headers={"Host": "evil.example"}).status_code == 403
        metadata = client.get("/tuf/metadata/timestamp.json", headers={"Range": "bytes=0-9"})
        assert (metadata.status_code, len(metadata.content)) == (206, 10)
    server.send_signal(signal.SIGTERM)
    _, log = server.communicate(timeout=20)
    assert server.returncode == 0, log
    assert "Traceback" not in log


def test_a_taken_port_and_an_unmigrated_database_are_told_in_one_line(
    config: Path, port: int, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        refused = subprocess.run(
            _cli("serve", "-c", str(config)), capture_output=True, text=True, check=False
        )
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "http.port" in refused.stderr
    empty = tmp_path / "empty.toml"
    empty.write_text('[database]\nurl = "sqlite:///empty.db"\n')
    refused = subprocess.run(
        _cli("ingest", "-c", str(empty)), capture_output=True, text=True, check=False
    )
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "sightline-cloud migrate" in refused.stderr

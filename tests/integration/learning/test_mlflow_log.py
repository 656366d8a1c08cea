"""Runs in MLflow: against a small server of the test's own, and against the real one if it is here.

``SIGHTLINE_MLFLOW=/path/to/mlflow`` names the real program.
"""

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from cloud.db.tables import RunState, TrainingRun
from cloud.errors import UnavailableError
from cloud.mlflow_log import mlflow_from
from simulators.ports import free_port

STARTED = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
API = "/api/2.0/mlflow"


def run_of(folder: Path, *, state: RunState = RunState.SUCCEEDED) -> TrainingRun:
    (folder / "report.json").write_text("{}")
    return TrainingRun(
        run_id="20260302-060000-abc",
        state=state,
        trigger="drift",
        requested_by="anna",
        snapshot_id="9e8d7c6b5a493827",
        directory=str(folder),
        parameters={"budget": "45m", "workers": 2},
        report={
            "steps": 300,
            "candidate": {
                "map50": 0.97,
                "latency_ms": {"p50": 6.0},
                "per_class": {"torn_label": {"ap50": 0.93}},
            },
        },
        gates=[{"name": "better overall", "passed": True, "text": "yes"}],
        release=2,
        created_at=STARTED,
        started_at=STARTED,
        finished_at=STARTED + timedelta(minutes=5),
    )


HISTORY = [{"event": "progress", "step": step, "loss": 3.0 / step} for step in range(1, 1201)]


class Tracker(BaseHTTPRequestHandler):
    """As much of a tracking server as a run needs."""

    runs: ClassVar[dict[str, dict[str, Any]]] = {}
    files: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self._answer(404, {"error_code": "RESOURCE_DOES_NOT_EXIST"})

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.files.append(self.path)
        self._answer(200, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method = self.path.removeprefix(f"{API}/")
        if method == "experiments/create":
            self._answer(200, {"experiment_id": "7"})
        elif method == "runs/search":
            self._answer(200, {"runs": list(self.runs.values())} if self.runs else {})
        elif method == "runs/create":
            self.runs["r1"] = {"tags": body["tags"], "metrics": [], "params": []}
            info = {"run_id": "r1", "artifact_uri": "mlflow-artifacts:/7/r1/artifacts"}
            self._answer(200, {"run": {"info": info}})
        elif method == "runs/log-batch":
            too_many = len(body.get("metrics", [])) > 1000
            for key in ("metrics", "params"):
                self.runs[body["run_id"]][key] += body.get(key, [])
            self._answer(400 if too_many else 200, {})
        else:
            self.runs[body["run_id"]]["status"] = body["status"]
            self._answer(200, {})

    def _answer(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def tracker() -> Iterator[str]:
    Tracker.runs, Tracker.files = {}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Tracker)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_run_is_told_once_with_figures_files_and_outcome(tracker: str, tmp_path: Path) -> None:
    log = mlflow_from({"MLFLOW_TRACKING_URI": tracker})
    assert log is not None
    for _ in range(2):  # a server that starts again tells it again
        log.tell(run_of(tmp_path), HISTORY)
    ((_, told),) = Tracker.runs.items()
    assert told["status"] == "FINISHED"
    values = {metric["key"]: metric["value"] for metric in told["metrics"]}
    assert values["candidate.map50"] == 0.97
    assert values["ap50/torn_label"] == 0.93
    assert values["gate/better_overall"] == 1.0
    assert len([metric for metric in told["metrics"] if metric["key"] == "loss"]) == 1200
    assert {"key": "snapshot_id", "value": "9e8d7c6b5a493827"} in told["params"]
    assert Tracker.files == ["/api/2.0/mlflow-artifacts/artifacts/7/r1/artifacts/report.json"]


def test_a_failed_run_is_told_as_failed(tracker: str, tmp_path: Path) -> None:
    log = mlflow_from({"MLFLOW_TRACKING_URI": tracker})
    assert log is not None
    log.tell(run_of(tmp_path, state=RunState.FAILED), [])
    assert Tracker.runs["r1"]["status"] == "FAILED"


def test_a_server_that_is_away_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        log = mlflow_from({"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{probe.getsockname()[1]}"})
        assert log is not None
        with pytest.raises(UnavailableError, match="MLflow: GET"):
            log.tell(run_of(tmp_path), [])


@pytest.mark.parametrize("uri", ["", "file:///tmp/mlruns", "databricks"])
def test_without_a_server_there_is_no_log(uri: str) -> None:
    assert mlflow_from({"MLFLOW_TRACKING_URI": uri}) is None


@pytest.mark.skipif("SIGHTLINE_MLFLOW" not in os.environ, reason="SIGHTLINE_MLFLOW names none")
def test_the_real_server_takes_a_run(tmp_path: Path) -> None:
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [os.environ["SIGHTLINE_MLFLOW"], "server", "--host", "127.0.0.1", "--port", str(port),
         "--workers", "1", "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db",
         "--artifacts-destination", str(tmp_path / "artifacts")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{uri}/health", timeout=2).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.5)
        log = mlflow_from({"MLFLOW_TRACKING_URI": uri, "MLFLOW_EXPERIMENT_NAME": "line 1"})
        assert log is not None
        for _ in range(2):
            log.tell(run_of(tmp_path), HISTORY)
        query = {"experiment_ids": ["1"], "max_results": 9}
        runs = httpx.post(f"{uri}{API}/runs/search", json=query, timeout=20).json()["runs"]
        (run,) = runs
        assert run["info"]["status"] == "FINISHED"
        values = {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}
        assert values["candidate.map50"] == 0.97
        listed = httpx.get(
            f"{uri}{API}/artifacts/list", params={"run_id": run["info"]["run_id"]}, timeout=20
        ).json()
        assert [file["path"] for file in listed["files"]] == ["report.json"]
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)

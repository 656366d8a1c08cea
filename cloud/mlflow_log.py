"""Training runs in MLflow, over its REST API: no package of MLflow is needed.

Switched on by ``MLFLOW_TRACKING_URI``, with MLflow's own variables for the rest:
``MLFLOW_EXPERIMENT_NAME``, ``MLFLOW_TRACKING_TOKEN`` or ``MLFLOW_TRACKING_USERNAME`` and
``MLFLOW_TRACKING_PASSWORD``.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from cloud.db.tables import RunState, TrainingRun
from cloud.errors import UnavailableError

API = "/api/2.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
PROXIED = "mlflow-artifacts:/"
EXPERIMENT = "sightline"
RUN_TAG = "sightline.run_id"
TIMEOUT_S = 20.0
MAX_BATCH = 900
"""MLflow takes up to 1,000 metrics in a request."""
FILES = ("report.json", "bundle/card.html", "bundle/manifest.json")
STATES = {
    RunState.SUCCEEDED: "FINISHED",
    RunState.REFUSED: "FINISHED",
    RunState.FAILED: "FAILED",
    RunState.CANCELLED: "KILLED",
}


def mlflow_from(environ: Mapping[str, str]) -> "MlflowLog | None":
    """The log that the environment asks for; None: it asks for none."""
    uri = environ.get("MLFLOW_TRACKING_URI", "")
    if not uri.startswith(("http://", "https://")):
        return None
    headers: dict[str, str] = {}
    auth = None
    if token := environ.get("MLFLOW_TRACKING_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    elif name := environ.get("MLFLOW_TRACKING_USERNAME"):
        auth = name, environ.get("MLFLOW_TRACKING_PASSWORD", "")

    def connect() -> httpx.Client:
        return httpx.Client(base_url=uri, headers=headers, auth=auth, timeout=TIMEOUT_S)

    return MlflowLog(connect, experiment=environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT))


class MlflowLog:
    """Writes runs into one experiment.

    Args:
        connect: Makes a client of the tracking server; one is used for each run.
        experiment: Name of the experiment; it is made when it is missing.
    """

    def __init__(self, connect: Callable[[], httpx.Client], *, experiment: str) -> None:
        self._connect = connect
        self._experiment = experiment

    def tell(self, run: TrainingRun, history: Sequence[dict[str, Any]]) -> None:
        """Write down a run that has ended; one that is there already is left alone.

        Raises:
            UnavailableError: the server cannot be reached or does not take it.
        """
        with self._connect() as client:
            _Telling(client, self._experiment).tell(run, history)


class _Telling:
    """One run on its way to the server."""

    def __init__(self, client: httpx.Client, experiment: str) -> None:
        self._client = client
        self._experiment = experiment

    def tell(self, run: TrainingRun, history: Sequence[dict[str, Any]]) -> None:
        experiment_id = self._experiment_id()
        if self._find(experiment_id, run.run_id):
            return
        started = _milliseconds(run.started_at or run.created_at)
        made = self._post(
            "runs/create",
            experiment_id=experiment_id,
            run_name=run.run_id,
            start_time=started,
            tags=_tags(run),
        )["run"]["info"]
        run_id = made["run_id"]
        self._post("runs/log-batch", run_id=run_id, params=_params(run))
        metrics = [*_progress(history, started), *_figures(run)]
        for start in range(0, len(metrics), MAX_BATCH):
            batch = metrics[start : start + MAX_BATCH]
            self._post("runs/log-batch", run_id=run_id, metrics=batch)
        self._keep_files(made.get("artifact_uri", ""), Path(run.directory))
        self._post(
            "runs/update",
            run_id=run_id,
            status=STATES.get(run.state, "FINISHED"),
            end_time=_milliseconds(run.finished_at or run.created_at),
        )

    def _experiment_id(self) -> str:
        found = self._ask(
            "GET",
            f"{API}/experiments/get-by-name",
            params={"experiment_name": self._experiment},
            missing=404,
        )
        if found is not None:
            return str(found["experiment"]["experiment_id"])
        return str(self._post("experiments/create", name=self._experiment)["experiment_id"])

    def _find(self, experiment_id: str, run_id: str) -> bool:
        found = self._post(
            "runs/search",
            experiment_ids=[experiment_id],
            filter=f"tags.`{RUN_TAG}` = '{run_id}'",
            max_results=1,
        )
        return bool(found.get("runs"))

    def _keep_files(self, artifact_uri: str, folder: Path) -> None:
        # Another store than the server's own would need its client and its keys.
        if not artifact_uri.startswith(PROXIED):
            return
        root = artifact_uri.removeprefix(PROXIED).strip("/")
        for name in FILES:
            path = folder / name
            if path.is_file():
                target = f"{ARTIFACTS}/{root}/{path.name}"
                self._ask("PUT", target, content=path.read_bytes())

    def _post(self, method: str, **body: object) -> dict[str, Any]:
        return self._ask("POST", f"{API}/{method}", json=body) or {}

    def _ask(
        self,
        verb: str,
        path: str,
        *,
        missing: int = 0,
        **request: Any,  # noqa: ANN401 - of httpx
    ) -> dict[str, Any] | None:
        try:
            answer = self._client.request(verb, path, **request)
            if answer.status_code == missing:
                return None
            answer.raise_for_status()
            document = answer.json() if answer.content else {}
        except (httpx.HTTPError, ValueError) as error:
            raise UnavailableError(f"MLflow: {verb} {path}: {error}") from error
        return document if isinstance(document, dict) else {}


def _tags(run: TrainingRun) -> list[dict[str, str]]:
    refused = [gate["text"] for gate in run.gates or [] if not gate.get("passed")]
    tags = {
        RUN_TAG: run.run_id,
        "sightline.state": run.state.value,
        "sightline.trigger": run.trigger,
        "sightline.release": str(run.release or ""),
        "sightline.reason": (run.error or "; ".join(refused))[:5_000],
        "mlflow.user": run.requested_by,
    }
    return [{"key": key, "value": value} for key, value in tags.items() if value]


def _params(run: TrainingRun) -> list[dict[str, str]]:
    report, parameters = run.report or {}, run.parameters or {}
    values = {
        "snapshot_id": run.snapshot_id,
        "init_bundle_id": run.init_bundle_id,
        "compared_bundle_id": run.compared_bundle_id,
        "budget": parameters.get("budget"),
        "master": parameters.get("master"),
        "workers": parameters.get("workers"),
        "steps": report.get("steps"),
    }
    return [{"key": key, "value": str(value)} for key, value in values.items() if value is not None]


def _progress(history: Sequence[dict[str, Any]], started: int) -> Iterator[dict[str, Any]]:
    for event in history:
        for key in ("loss", "map50", "rate"):
            value = event.get(key)
            if isinstance(value, int | float) and value == value:  # noqa: PLR0124 - NaN is not
                at = started + int(1000 * float(event.get("seconds", 0) or 0))
                yield _metric(key, value, int(event["step"]), at)


def _figures(run: TrainingRun) -> Iterator[dict[str, Any]]:
    report = run.report or {}
    now = int(time.time() * 1000)
    step = int(report.get("steps") or 0)
    for role in ("candidate", "running", "float"):
        evaluation = report.get(role) or {}
        for key in ("map50", "map"):
            if isinstance(evaluation.get(key), int | float):
                yield _metric(f"{role}.{key}", evaluation[key], step, now)
        latency = (evaluation.get("latency_ms") or {}).get("p50")
        if isinstance(latency, int | float):
            yield _metric(f"{role}.latency_p50_ms", latency, step, now)
        for name, scores in (evaluation.get("per_class") or {}).items():
            if role == "candidate" and isinstance(scores.get("ap50"), int | float):
                yield _metric(f"ap50/{name}", scores["ap50"], step, now)
    for gate in run.gates or []:
        name = str(gate.get("name", "")).replace(" ", "_")
        yield _metric(f"gate/{name}", float(bool(gate.get("passed"))), step, now)


def _metric(key: str, value: float, step: int, at: int) -> dict[str, Any]:
    return {"key": key, "value": float(value), "step": step, "timestamp": at}


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)

"""What lies in deploy/ is what the programs, Prometheus and Kubernetes read."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from cloud.db.session import Database
from cloud.ingest_metrics import IngestMetrics
from cloud.settings import Settings, load_settings
from cloud.telemetry import ServeMetrics

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
BOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
EDGE_METRICS = DEPLOY.parent / "edge_agent" / "telemetry.py"


def promtool(*arguments: str) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    done = subprocess.run(
        [program, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_alert_rules_are_sound_and_fire_when_they_should() -> None:
    promtool("check", "rules", "alerts.yml")
    promtool("test", "rules", "alerts_test.yml")


def test_configuration_of_prometheus_is_sound() -> None:
    promtool("check", "config", "--syntax-only", "prometheus.yml")


def expressions() -> dict[str, str]:
    rules = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
    found = {rule["alert"]: rule["expr"] for group in rules["groups"] for rule in group["rules"]}
    for path in BOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                found[f"{path.stem}: {panel['title']} {target['refId']}"] = target["expr"]
    return found


def test_alerts_and_panels_ask_only_for_metrics_that_there_are(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    IngestMetrics(registry)
    serve = ServeMetrics(Database(f"sqlite:///{tmp_path}/cloud.db")).registry
    known = {metric.name for each in (registry, serve) for metric in each.collect()}
    known |= set(re.findall(r'"(sightline_\w+)"', EDGE_METRICS.read_text()))
    known |= {"sightline_cell_online", "sightline_cell_outbox", "sightline_cell_release"}
    known |= {"sightline_dead_letters", "sightline_review_pending"}
    for where, expression in expressions().items():
        for name in re.findall(r"sightline_\w+", expression):
            assert re.sub(r"_(total|bucket|sum|count)$", "", name) in known, where


def test_every_alert_says_what_to_do() -> None:
    rules = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"].keys() == {"summary", "action"}
            assert rule["labels"]["severity"] in {"info", "warning", "critical"}


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_panels_of_a_dashboard_do_not_overlap(path: Path) -> None:
    board = json.loads(path.read_text())
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def documents() -> list[dict[str, Any]]:
    return [
        document
        for path in MANIFESTS
        if path.name != "kustomization.yaml"
        for document in yaml.safe_load_all(path.read_text())
    ]


def test_manifests_name_one_another_rightly() -> None:
    plan = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())
    assert set(plan["resources"]) == {path.name for path in MANIFESTS} - {"kustomization.yaml"}
    by_kind: dict[str, dict[str, Any]] = {}
    for document in documents():
        by_kind.setdefault(document["kind"], {})[document["metadata"]["name"]] = document
    generated = {entry["name"] for entry in plan["configMapGenerator"]} | {"broker-ca"}
    for document in [*by_kind["Deployment"].values(), *by_kind["Job"].values()]:
        pod = document["spec"]["template"]["spec"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys()
        for volume in volumes.values():
            if "configMap" in volume:
                assert volume["configMap"]["name"] in generated
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                assert claim in by_kind["PersistentVolumeClaim"]
    for name, deployment in by_kind["Deployment"].items():
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"] == labels, name
    for service in by_kind["Service"].values():
        pods = [d["spec"]["template"]["metadata"]["labels"] for d in by_kind["Deployment"].values()]
        assert service["spec"]["selector"] in pods


def test_settings_of_the_pods_and_of_compose_are_taken(tmp_path: Path) -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    texts = {
        "compose": compose["configs"]["cloud"]["content"],
        "kubernetes": (DEPLOY / "kubernetes" / "cloud.toml").read_text(),
    }
    for name, text in texts.items():
        tomllib.loads(text)
        path = tmp_path / f"{name}.toml"
        path.write_text(text)
        settings = load_settings(path, environ={})
        assert isinstance(settings, Settings)
        assert settings.auth.require_login
        assert settings.broker.ca_file is not None


def test_compose_names_files_and_services_that_there_are() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    for name, service in compose["services"].items():
        if "build" in service:
            assert (DEPLOY.parent / service["build"]["dockerfile"]).is_file(), name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            known = (DEPLOY / source).exists() if source[0] == "." else source in compose["volumes"]
            assert known, (name, volume)
        assert set(service.get("depends_on", ())) <= compose["services"].keys()
        assert set(service.get("secrets", ())) <= compose["secrets"].keys()


@pytest.mark.parametrize("path", sorted((DEPLOY / "docker").glob("*")), ids=lambda path: path.name)
def test_a_dockerfile_copies_what_is_there_and_runs_as_nobody(path: Path) -> None:
    text = path.read_text()
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (DEPLOY.parent / source).exists(), source
    assert "--require-hashes" in text
    assert re.search(r"^USER 10001$", text, re.MULTILINE)

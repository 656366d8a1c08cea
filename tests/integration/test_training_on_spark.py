"""sightline-train as its users run it: as a process, on a laptop's Spark and on a cluster."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pyspark
import pytest

from models.contract.bundle import read_manifest, verify_files
from models.contract.snapshot import SnapshotManifest
from models.training.java import find_java
from simulators.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
NUM_PICTURES = 36
SIZE_PX = 64
# One level cuts the network after block 6: all that is slow about TensorFlow here is its graph.
TINY = ["--init", "none", "--input-size", f"{SIZE_PX}x{SIZE_PX}", "--width", "0.35"]
TINY += ["--levels", "8", "--neck", "none", "--batch", "8"]
COMMAND_TIMEOUT_S = 400
KILL_AT_STEP = 12


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "models.training.cli", *map(str, arguments), "--json"]


def train(*arguments: object) -> dict[str, Any]:
    """Run a command to its end; its last JSON line."""
    ended = subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    assert ended.stdout, ended.stderr
    last: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    assert (ended.returncode == 0) == (last["event"] == "done"), last
    return last | {"exit_code": ended.returncode}


def write_pictures(folder: Path) -> Path:
    """Squares and discs with labels, and one of each thing that goes wrong with pictures."""
    rng = np.random.default_rng(5)
    images, annotations = [], []
    (folder / "images").mkdir(parents=True)
    for number in range(NUM_PICTURES):
        picture = rng.integers(60, 90, (SIZE_PX, SIZE_PX, 3), np.uint8)
        for category in (1, 2):
            x, y, side = (int(value) for value in rng.integers((2, 2, 14), (36, 36, 24)))
            shape = (x, y, side, side)
            if category == 1:
                cv2.rectangle(picture, (x, y), (x + side, y + side), (30, 30, 230), -1)
            else:
                cv2.circle(picture, (x + side // 2, y + side // 2), side // 2, (30, 230, 30), -1)
            annotations.append({"image_id": number, "category_id": category, "bbox": shape})
        cv2.imwrite(str(folder / "images" / f"{number}.png"), picture)
        images.append({"id": number, "file_name": f"{number}.png", "part_id": f"P{number}"})
    (folder / "images" / "broken.png").write_bytes(b"not a picture")
    (folder / "images" / "again.png").write_bytes((folder / "images" / "0.png").read_bytes())
    for name in ("broken.png", "again.png", "gone.png"):
        images.append({"id": len(images), "file_name": name})
    annotations.append({"image_id": 1, "category_id": 1, "bbox": (200, 200, 9, 9)})
    annotations.append({"image_id": 1, "category_id": 7, "bbox": (2, 2, 9, 9)})
    for number, annotation in enumerate(annotations):
        annotation["id"] = number
    categories = [{"id": 1, "name": "square", "supercategory": "object"}, {"id": 2, "name": "disc"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "coco.json").write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def snapshot(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    url = tmp_path_factory.mktemp("snapshots") / "first"
    done = train(
        "import",
        *("--labels", pictures / "coco.json", "--images", pictures / "images"),
        *("--snapshot", url, "--master", "local[2]"),
    )
    assert done["exit_code"] == 0
    return url


def test_import_lists_what_it_could_not_use(snapshot: Path) -> None:
    manifest = SnapshotManifest.model_validate_json((snapshot / "manifest.json").read_bytes())
    assert sum(split.num_images for split in manifest.splits.values()) == NUM_PICTURES
    assert manifest.refused == {
        "box: outside the picture": 1,
        "broken picture": 1,
        "duplicate picture with other labels": 1,
        "missing picture": 1,
        "unknown category": 1,
    }
    listed = (snapshot / "refused.jsonl").read_text()
    assert '"item": "broken.png"' in listed


def test_two_workers_make_a_bundle_that_can_be_evaluated(
    snapshot: Path, pictures: Path, tmp_path: Path
) -> None:
    bundle, run = tmp_path / "bundle", tmp_path / "run"
    done = train(
        "run",
        *("--snapshot", snapshot, "--bundle", bundle, "--run", run, *TINY, "--steps", "24"),
        # Of a network that has seen next to nothing INT8 may lose much; no time to do better.
        *("--budget", "1s"),
        *("--master", "local[2]", "--workers", "2"),
    )
    report = json.loads((run / "report.json").read_text())
    assert (report["workers"], report["steps"], report["master"]) == (2, 24, "local[2]")
    assert report["split"] == "locked"
    manifest = read_manifest(bundle)
    verify_files(bundle, manifest)
    assert report["candidate"]["bundle_id"] == manifest.bundle_id == done["bundle_id"]
    assert manifest.category_names == ("square", "disc")
    assert manifest.metrics.num_images == report["candidate"]["num_images"] > 0
    assert manifest.quantization is not None
    assert manifest.quantization.shipped == manifest.precision == report["precision"]
    assert report["precision_in_force"] == manifest.quantization.precision_in_force == "f32"
    assert set(report["operating_point"]["curves"]) == {"square", "disc"}
    assert report["analysis"]["num_pictures"] == report["candidate"]["num_images"]
    assert "Worst" in (bundle / "card.html").read_text()

    predictions, figures = tmp_path / "found.json", tmp_path / "figures.json"
    train(
        *("evaluate", "--bundle", bundle, "--master", "local[2]"),
        *("--labels", pictures / "coco.json", "--images", pictures / "images"),
        *("--predictions", predictions, "--report", figures, "--card", tmp_path / "card"),
    )
    judged = json.loads(figures.read_text())
    assert judged["num_images"] == NUM_PICTURES + 1
    assert sorted(judged["skipped"].values()) == ["broken picture", "missing picture"]
    assert set(judged["analysis"]["per_class"]) == {"square", "disc"}
    assert "| square | object |" in (tmp_path / "card" / "card.md").read_text()
    rows = json.loads(predictions.read_text())
    assert {row["category_id"] for row in rows} <= {1, 2}
    assert {row["image_id"] for row in rows} <= set(range(NUM_PICTURES + 3))


@dataclass(frozen=True)
class Cluster:
    """A standalone cluster and the processes that the test has started for it."""

    master: str
    processes: tuple[subprocess.Popen[Any], ...]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A Spark master and two workers of one core each, on the loopback."""
    spark_home = Path(pyspark.__file__).parent
    port = free_port()
    master = f"spark://127.0.0.1:{port}"
    environment = os.environ | {
        "JAVA_HOME": str(find_java()),
        "SPARK_HOME": str(spark_home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_NO_DAEMONIZE": "1",
        "SPARK_DAEMON_JAVA_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }
    deploy, host = "org.apache.spark.deploy", ["--host", "127.0.0.1", "--webui-port", "0"]
    roles = [[f"{deploy}.master.Master", *host, "--port", str(port)]]
    roles += [
        [f"{deploy}.worker.Worker", *host, "-c", "1", "-m", "1500m", "-d", str(tmp_path), master]
    ] * 2
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((tmp_path / "cluster.log").open("w"))
        processes = []
        for role in roles:
            process = subprocess.Popen(
                [spark_home / "bin" / "spark-class", *role],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            stack.callback(end, process)
            processes.append(process)
        yield Cluster(master, tuple(processes))


def end(process: subprocess.Popen[Any]) -> None:
    """End a process and everything below it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        below = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        for child in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    process.kill()
    process.wait()


def wait_for_step(run: Path, step: int, process: subprocess.Popen[Any]) -> None:
    give_up = time.monotonic() + COMMAND_TIMEOUT_S
    while time.monotonic() < give_up and process.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            lines = (run / "progress.jsonl").read_text().splitlines()
            if lines and json.loads(lines[-1])["step"] >= step:
                return
        time.sleep(0.2)
    raise AssertionError(f"the fit did not reach step {step}")


def find_rank(cluster: Cluster) -> psutil.Process:
    """One of the cluster's TensorFlow workers, told by what it has in its memory."""
    for started in cluster.processes:
        for process in psutil.Process(started.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if any("libtensorflow" in entry.path for entry in process.memory_maps()):
                    return process
    raise AssertionError("no rank found")


def listening_ports(process: psutil.Process) -> list[int]:
    found = process.net_connections(kind="tcp")
    return sorted({entry.laddr.port for entry in found if entry.status == psutil.CONN_LISTEN})


def answers(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def test_cluster_fit_survives_the_death_of_a_worker(
    snapshot: Path, cluster: Cluster, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments = ["fit", "--snapshot", str(snapshot), "--run", str(run), *TINY, "--steps", "40"]
    arguments += ["--master", cluster.master, "--workers", "2", "--set", "checkpoint_every_s=0.5"]
    process = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, text=True)
    try:
        wait_for_step(run, KILL_AT_STEP, process)
        rank = find_rank(cluster)
        # The kernel answers for it; on a fast machine the fit would end meanwhile.
        rank.suspend()
        ports = listening_ports(rank)
        assert ports
        assert [port for port in ports if answers("127.0.0.1", port)] == ports
        # An address of this machine that no peer was given, as the plant's network would be.
        assert not [port for port in ports if answers("127.0.0.2", port)]
        rank.kill()
        output, _ = process.communicate(timeout=COMMAND_TIMEOUT_S)
    finally:
        end(process)
    done = json.loads(output.splitlines()[-1])
    assert done["event"] == "done", done
    assert (done["steps"], done["workers"], done["num_restarts"]) == (40, 2, 1)
    events = [json.loads(line) for line in (run / "progress.jsonl").read_text().splitlines()]
    (resumed,) = (event["step"] for event in events if event.get("resumed"))
    assert 0 < resumed < 40


@pytest.fixture
def inputs(snapshot: Path, pictures: Path) -> dict[str, Path]:
    """What the words in capitals below stand for."""
    return {"SNAPSHOT": snapshot, "LABELS": pictures / "coco.json"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["run", "--snapshot", "gone", "--bundle", "b", "--master", "local[2]"],
            "no snapshot at gone",
            id="no snapshot",
        ),
        pytest.param(
            ["fit", "--snapshot", "SNAPSHOT", "--run", "r", "--steps", "9", "--init", "gone.h5"],
            "no such bundle or weights file",
            id="no weights",
        ),
        pytest.param(
            [
                *("import", "--labels", "LABELS", "--images", ".", "--snapshot", "s"),
                *("--master", "local[1]", "--workers", "2"),
            ],
            "has 1 slots and --workers asks for 2",
            id="too few slots",
        ),
        pytest.param(
            ["evaluate", "--bundle", "b", "--snapshot", "s"],
            "is not a model bundle",
            id="no bundle",
        ),
    ],
)
def test_wrong_input_gets_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    inputs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.chdir(tmp_path)
    last = train(*(inputs.get(argument, argument) for argument in arguments))
    assert last["exit_code"] == 2
    assert message in last["message"]
    assert "\n" not in last["message"]

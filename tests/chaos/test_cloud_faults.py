"""Rows 5, 8, 24: ingest dies again and again, the cloud's disk is full, a backup under load."""

import os
import random
import sqlite3
import subprocess
import sys
import time
import warnings
from contextlib import closing
from pathlib import Path

import pytest

from cloud.app import build_context, create_app
from cloud.settings import AuthSettings, load_settings
from simulators.chaos.cloud import CloudIngest, missing_and_doubled
from simulators.chaos.edge import EdgeAgent
from simulators.chaos.processes import wait_for
from simulators.chaos.stage import Stage

with warnings.catch_warnings():
    # Starlette asks for a successor of httpx that NiceGUI does not use yet.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

DRAIN_S = 120.0
COUNTED = "SELECT (SELECT sum(n) FROM tallies WHERE span_s = {span_s} AND kind = 'verdict')"


def stop_and_compare(edge: EdgeAgent, cloud: CloudIngest) -> None:
    """I1 and I2, and that every counter says what the rows say."""
    wait_for(lambda: edge.num_waiting() == 0, DRAIN_S, "the outbox to drain")
    edge.process.stop()
    waiting = edge.waiting_sequences()
    made = {boot: last - waiting.get(boot, 0) for boot, last in edge.sequences().items()}
    assert missing_and_doubled(made, cloud.records()) == (0, 0)
    assert read(cloud.database, "SELECT sum(num_records) FROM boot_counts") == cloud.num_records()
    for span_s in (900, 2_592_000):
        tallied = read(cloud.database, COUNTED.format(span_s=span_s))
        assert tallied == cloud.num_rows("results")


def wait_for_more(cloud: CloudIngest, count: int) -> None:
    wait_for(lambda: cloud.num_records() > count, DRAIN_S, f"more than {count} records")


def read(database: Path, query: str) -> object:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        (value,) = connection.execute(query).fetchone()
    return value


def test_ingest_killed_at_any_moment_loses_doubles_and_miscounts_nothing(chaos: Stage) -> None:
    if not chaos.is_full:
        pytest.skip("its short form, on both databases, is in tests/integration/test_ingest.py")
    dice = random.Random(chaos.seed)  # noqa: S311 - when to kill
    broker = chaos.new_broker()
    cloud = chaos.ingest(broker.port)
    edge = chaos.agent(broker.port)
    line = chaos.line(broker.port, edge, period_s=0.03)
    times = 50
    for _ in range(times):
        wait_for_more(cloud, cloud.num_records())
        time.sleep(dice.random() * 0.2)
        cloud.process.kill()
        line.wait_verdicts(3)  # I4, and rows that wait
        cloud.process.start()
    line.stop()
    stop_and_compare(edge, cloud)
    assert line.promises().broken == 0
    figure = f"{cloud.num_records()} records, 0 lost, 0 doubled, counters right"
    chaos.row(5, "ingest SIGKILL", times, "I1 I2 I4", figure)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a small file system")
def test_full_disk_at_the_cloud_acknowledges_nothing_and_spoils_nothing(chaos: Stage) -> None:
    folder = chaos.folder / "cloud"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("this machine does not mount tmpfs")
    chaos.cleanups.append(lambda: subprocess.run(["umount", "-l", str(folder)], check=False))
    broker = chaos.new_broker()
    cloud = chaos.ingest(broker.port)
    edge = chaos.agent(broker.port)
    line = chaos.line(broker.port, edge, period_s=0.03)
    wait_for(lambda: cloud.num_records() > 5, DRAIN_S, "records to arrive")
    filler = folder / "filler"
    # One that fills it first, then takes what the growing log files free again.
    with filler.open("wb", buffering=0) as stream:
        for size in (65_536, 4_096, 512):
            try:
                while True:
                    stream.write(bytes(size))
            except OSError:
                continue
    line.wait_verdicts(chaos.times(short=30, full=600), timeout_s=300)
    wait_for(lambda: edge.num_waiting() > 10, DRAIN_S, "rows to wait in the cell")
    assert cloud.process.is_alive
    assert _answer_of_the_api(cloud.config) == 507
    waited = edge.num_waiting()
    filler.unlink()
    line.stop()
    stop_and_compare(edge, cloud)
    assert read(cloud.database, "PRAGMA integrity_check") == "ok"
    assert line.promises().broken == 0
    figure = f"{waited} rows waited in the cell, API 507, {cloud.num_records()} records, 0 lost"
    chaos.row(8, "disk full at the cloud", 1, "I1 I4", figure)


def _answer_of_the_api(config: Path) -> int:
    """What somebody gets who changes something on the full disk."""
    nobody = {"auth": AuthSettings(require_login=False)}
    context = build_context(load_settings(config).model_copy(update=nobody))
    client = TestClient(create_app(context, with_dashboard=False), base_url="http://127.0.0.1:8080")
    status = 0
    for number in range(50):  # the first may still find room in a page that is there
        body = {"name": f"scratch-{number}", "kind": "defect"}
        status = client.post("/v1/categories", json=body).status_code
        if status >= 500:
            break
    context.database.close()
    return status


def test_backup_under_load_comes_back_whole(chaos: Stage) -> None:
    if not chaos.is_full:
        pytest.skip("its short form, on both databases, is in tests/integration/test_backup.py")
    broker = chaos.new_broker()
    cloud = chaos.ingest(broker.port)
    edge = chaos.agent(broker.port, hard_examples="audit_ratio = 1.0")
    line = chaos.line(broker.port, edge, period_s=0.03)
    times = 10
    for number in range(times):
        wait_for_more(cloud, 20 * (number + 1))
        folder = chaos.folder / f"backup{number}"
        _cloud("backup", str(folder), config=cloud.config)
        fresh = chaos.folder / f"fresh{number}"
        fresh.mkdir()
        (fresh / "cloud.toml").write_text(
            '[database]\nurl = "sqlite:///cloud.db"\n[storage]\nurl = "images"\n'
        )
        _cloud("restore", str(folder), config=fresh / "cloud.toml")
        restored = CloudIngest(fresh, port=broker.port)  # never started: it only counts
        found = restored.records()
        last = {boot: max(seqs) for boot, seqs in found.items()}
        assert missing_and_doubled(last, found) == (0, 0)
        total = restored.num_records()
        assert read(restored.database, "SELECT sum(num_records) FROM boot_counts") == total
        stored = {path.name for path in (fresh / "images").rglob("*") if path.is_file()}
        with closing(sqlite3.connect(restored.database)) as connection:
            rows = {sha256 for (sha256,) in connection.execute("SELECT sha256 FROM images")}
        assert rows <= stored
    line.stop()
    stop_and_compare(edge, cloud)
    figure = f"{times} backups under load, restored with counts and hashes equal"
    chaos.row(24, "backup and restore", times, "I1 I2", figure)


def _cloud(*arguments: str, config: Path) -> None:
    command = [sys.executable, "-m", "cloud.cli", *arguments, "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr

"""A training whose driver is killed or whose disk fills up goes on; in full form only."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.contract.bundle import Category
from models.contract.snapshot import SnapshotManifest, Split, SplitCounts
from simulators.chaos.stage import Stage

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("SIGHTLINE_CHAOS") != "full", reason="minutes: make chaos runs it"
    ),
    pytest.mark.timeout(1800),
]

NUM_PICTURES, SIZE_PX, STEPS, FAULT_AT_STEP = 36, 64, 40, 12
WAIT_S = 900.0
FIT = ["fit", "--init", "none", "--input-size", f"{SIZE_PX}x{SIZE_PX}", "--width", "0.35"]
FIT += ["--levels", "8", "--neck", "none", "--batch", "8", "--steps", str(STEPS)]
FIT += ["--master", "local[1]", "--set", "checkpoint_every_s=0.5", "--json"]
DISK_BYTES = 64_000_000


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("snapshot")
    rng = np.random.default_rng(5)
    rows = []
    for number in range(NUM_PICTURES):
        picture = rng.integers(60, 90, (SIZE_PX, SIZE_PX, 3), np.uint8)
        x, y, side = (int(value) for value in rng.integers((2, 2, 14), (36, 36, 24)))
        cv2.rectangle(picture, (x, y), (x + side, y + side), (30, 30, 230), -1)
        place = (float(x), float(y), float(side), float(side))
        box = dict(zip(("x", "y", "width", "height"), place, strict=True))
        rows.append(
            {
                "image_id": f"{number:02}",
                "file_name": f"{number}.png",
                "part_id": f"P{number}",
                "source": "test",
                "width": SIZE_PX,
                "height": SIZE_PX,
                "image": cv2.imencode(".png", picture)[1].tobytes(),
                "annotations": [{"category": "square", **box}],
            }
        )
    data = folder / "data" / "split=train"
    data.mkdir(parents=True)
    pq.write_table(_as_spark_writes(pa.Table.from_pylist(rows)), data / "part.parquet")
    manifest = SnapshotManifest(
        snapshot_id="0" * 16,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        categories=(Category(name="square"),),
        splits={Split.TRAIN: SplitCounts(num_images=NUM_PICTURES, num_boxes=NUM_PICTURES)},
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return folder


def _as_spark_writes(table: pa.Table) -> pa.Table:
    """Sizes as 32-bit numbers and boxes as 32-bit floats, as the contract has them."""
    number, ratio = pa.int32(), pa.float32()
    box = pa.struct(
        [("category", pa.string()), *((name, ratio) for name in ("x", "y", "width", "height"))]
    )
    types = {"width": number, "height": number, "annotations": pa.list_(box)}
    fields = [pa.field(field.name, types.get(field.name, field.type)) for field in table.schema]
    return table.cast(pa.schema(fields))


def command(snapshot: Path, run: Path, *more: str) -> list[str]:
    program = [sys.executable, "-m", "models.training.cli", *FIT]
    return [*program, "--snapshot", str(snapshot), "--run", str(run), *more]


def steps_done(run: Path) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError, KeyError):
        return int(json.loads((run / "progress.jsonl").read_text().splitlines()[-1])["step"])
    return 0


def wait_until(is_so: Callable[[], bool], process: subprocess.Popen[Any]) -> None:
    give_up = time.monotonic() + WAIT_S
    while not is_so():
        assert process.poll() is None, "the fit ended early"
        assert time.monotonic() < give_up, "it never came to that"
        time.sleep(0.1)


def resumed_at(run: Path) -> list[int]:
    events = [json.loads(line) for line in (run / "progress.jsonl").read_text().splitlines()]
    return [event["step"] for event in events if event.get("resumed")]


def test_killed_driver_goes_on_to_the_same_number_of_steps(
    snapshot: Path, tmp_path: Path, chaos: Stage
) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen(command(snapshot, run), stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: steps_done(run) >= FAULT_AT_STEP, process)
    finally:
        process.kill()
        process.wait()
    ended = subprocess.run(
        command(snapshot, run, "--resume"),
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    done = json.loads(ended.stdout.splitlines()[-1])
    assert (done["event"], done["steps"]) == ("done", STEPS)
    (step,) = resumed_at(run)
    assert 0 < step < STEPS
    figure = f"went on from its checkpoint of step {step} to step {STEPS}"
    chaos.row(6, "training driver SIGKILL", 1, "I6", figure)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A disk of its own, seen only by the shell that is returned, and the way to it from here."""
    program = shutil.which("unshare")
    if program is None:
        pytest.skip("needs unshare of util-linux")
    disk = tmp_path / "disk"
    disk.mkdir()
    shell = subprocess.Popen(
        [program, "--mount", "--map-root-user", "sh"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdin.write(f"mount -t tmpfs -o size={DISK_BYTES} none {disk} && echo ready\n")
    shell.stdin.flush()
    if shell.stdout.readline().strip() != "ready":
        shell.kill()
        shell.wait()
        pytest.skip("this machine lets nobody mount a disk in a namespace of his own")
    try:
        yield Path(f"/proc/{shell.pid}/root{disk}"), shell
    finally:
        shell.kill()
        shell.wait()
        shell.stdin.close()
        shell.stdout.close()


def test_full_disk_is_told_in_one_line_and_resume_goes_on(
    snapshot: Path,
    small_disk: tuple[Path, subprocess.Popen[str]],
    tmp_path: Path,
    chaos: Stage,
) -> None:
    disk, shell = small_disk
    assert shell.stdin is not None
    assert shell.stdout is not None
    run = disk / "run"

    def start(*more: str) -> None:
        assert shell.stdin is not None
        words = command(snapshot, tmp_path / "disk" / "run", *more)
        shell.stdin.write(" ".join(f"'{word}'" for word in words) + "; echo code $?\n")
        shell.stdin.flush()

    def last_lines() -> tuple[dict[str, Any], str]:
        assert shell.stdout is not None
        told = ""
        for line in shell.stdout:
            if line.startswith("code "):
                return json.loads(told), line.split()[1]
            told = line
        raise AssertionError("the shell is gone")

    start()
    wait_until(lambda: steps_done(run) >= FAULT_AT_STEP, shell)
    with contextlib.suppress(OSError), (disk / "filler").open("wb") as filler:
        while True:
            filler.write(bytes(65_536))
            filler.flush()
    said, code = last_lines()
    assert (said["event"], code) == ("error", "1")
    assert "a disk is full" in said["message"]
    assert "\n" not in said["message"]

    (disk / "filler").unlink()
    start("--resume")
    said, code = last_lines()
    assert (said["event"], said["steps"], code) == ("done", STEPS, "0")
    assert all(0 < step < STEPS for step in resumed_at(run))
    assert resumed_at(run)
    figure = f"told in one line; went on from step {resumed_at(run)[0]} to step {STEPS}"
    chaos.row(6, "disk full under a training", 1, "I6", figure)

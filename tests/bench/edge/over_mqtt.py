"""Trigger to verdict as the PLC sees it: beside the bare model, and while the cloud is trouble."""

import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from edge_agent.outbox import SqliteOutbox
from models.contract.messages import Inspection, ResultState, Verdict
from simulators.handshake import Exchange

from .downloads import Downloads
from .figures import Effort, median, percentile, say, spread
from .plant import CELL, BareModel, Plant, latencies_ms, num_missed, pictures
from .quiet import undisturbed

HZ = 10.0
NUM_BACKLOG = 28_800
"""Rows of eight hours at one part a second: what a night without the cloud leaves."""
MAX_LEFT = 50
"""Rows that are no backlog: the line goes on."""
MAX_DRAIN_S = 180.0
TOLD = "p50 {p50:.2f} p99 {p99:.2f} ms of {count}"


def measure(work: Path, effort: Effort) -> dict[str, Any]:
    """Over MQTT on idle cores: agent and bare model in turns, at the same pace."""
    rounds, seconds = effort.rounds(3, 20), 8.0 if effort.is_quick else 20.0
    plant = Plant(work / "mqtt")
    bare_ms: list[list[float]] = []
    agent_ms: list[list[float]] = []
    cycle_ms: list[float] = []
    foreign, missed = [], 0
    with BareModel(pictures(work / "pictures")) as bare, plant.running():
        plant.inspect_for(3.0)

        def both() -> tuple[list[float], list[Exchange]]:
            return bare.time(int(seconds * HZ / 2), hz=HZ), plant.inspect_for(seconds)

        for turn in range(rounds):
            (alone_ms, exchanges), disturbance = undisturbed(both)
            foreign.append(disturbance)
            bare_ms.append(alone_ms)
            agent_ms.append(latencies_ms(exchanges))
            cycle_ms += [e.result.processing_ms for e in exchanges if e.result]
            missed += num_missed(exchanges)
            say(f"mqtt {turn + 1}/{rounds}: bare {_told(alone_ms)}, plc {_told(agent_ms[-1])}")
    over = [percentile(a, 50) - percentile(b, 50) for a, b in zip(agent_ms, bare_ms, strict=True)]
    tails = [percentile(a, 99) / percentile(a, 50) for a in agent_ms]
    every = [value for one in agent_ms for value in one]
    return {
        "top": {
            "trigger_to_verdict_overhead_ms_p50": median(over),
            "trigger_to_verdict_p99_over_p50": median(tails),
            "trigger_to_verdict_ms": spread(every),
        },
        "rounds": rounds,
        "seconds_a_round": seconds,
        "bare_infer_ms": spread([value for one in bare_ms for value in one]),
        "agent_processing_ms": spread(cycle_ms),
        "overhead_ms_p50_by_round": [round(value, 3) for value in over],
        "p99_over_p50_by_round": [round(value, 3) for value in tails],
        "cores_used_by_others_by_round": foreign,
        "triggers_missed": missed,
    }


def measure_under_load(work: Path, effort: Effort) -> dict[str, Any]:
    """The same path with the cloud cut off, a backlog draining, a model downloading."""
    rounds, seconds = effort.rounds(1, 5), 10.0 if effort.is_quick else 40.0
    backlog = _backlog(work, 4_000 if effort.is_quick else NUM_BACKLOG)
    told: dict[str, list[list[float]]] = {
        name: [] for name in ("quiet", "cut", "drain", "download")
    }
    rows_per_s, missed = [], 0
    with Downloads(work / "downloads") as downloads:
        for turn in range(rounds):
            plant = Plant(work / "load", settings=downloads.settings)
            shutil.rmtree(plant.folder / "data", ignore_errors=True)
            shutil.copytree(backlog, plant.folder / "data" / "outbox")
            with plant.running(with_cloud=False):
                plant.inspect_for(3.0)
                seen = {"cut": plant.inspect_for(seconds)}
                plant.connect_cloud()
                seen["drain"], rate = _while_draining(plant)
                rows_per_s.append(rate)
                time.sleep(2.0)
                seen["quiet"] = plant.inspect_for(seconds)
                with downloads.wanted(plant):
                    seen["download"] = plant.inspect_for(seconds)
            for name, exchanges in seen.items():
                told[name].append(latencies_ms(exchanges))
                missed += num_missed(exchanges)
                say(f"load {turn + 1}/{rounds}: {name} {_told(told[name][-1])}")
            say(f"load {turn + 1}/{rounds}: drained {rate:.0f} rows/s")
    shifts = {
        name: median(
            [
                percentile(loaded, 99) / percentile(quiet, 99) - 1
                for loaded, quiet in zip(told[name], told["quiet"], strict=True)
            ]
        )
        for name in ("cut", "drain", "download")
    }
    return {
        "top": {"p99_shift_under_load_ratio": max(shifts.values())},
        "rounds": rounds,
        "shift_by_condition": shifts,
        "latency_ms": {
            name: spread([v for one in found for v in one]) for name, found in told.items()
        },
        "p99_ms_by_round": {
            name: [round(percentile(one, 99), 2) for one in found] for name, found in told.items()
        },
        "backlog_rows_per_s": median(rows_per_s, 0),
        "triggers_missed": missed,
    }


def _while_draining(plant: Plant) -> tuple[list[Exchange], float]:
    """Inspect without a break until the backlog is gone; rows a second while it went."""
    outbox = plant.folder / "data" / "outbox" / "outbox.sqlite3"
    began, first = time.monotonic(), _rows(outbox)
    told = [(began, first)]
    is_over = threading.Event()

    def watch() -> None:
        try:
            while told[-1][1] > MAX_LEFT and told[-1][0] - began < MAX_DRAIN_S:
                time.sleep(1.0)
                told.append((time.monotonic(), _rows(outbox)))
        finally:
            is_over.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    exchanges = list(plant.inspect_while(lambda: not is_over.is_set(), hz=HZ))
    watcher.join()
    ended, left = told[-1]
    return exchanges, (first - left) / (ended - began)


def _rows(database: Path) -> int:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as reading:
        return int(reading.execute("SELECT count(*) FROM pending").fetchone()[0])


def _backlog(work: Path, count: int) -> Path:
    """An outbox as a long time without the cloud leaves it."""
    folder = work / f"backlog-{count}"
    if folder.exists():
        return folder
    making = folder.with_suffix(".part")
    shutil.rmtree(making, ignore_errors=True)
    outbox = SqliteOutbox(making, cell=CELL, boot_id=uuid4())
    with outbox._transaction():  # one commit instead of thousands
        for number in range(count):
            outbox.append_record(_inspection(number), created_at=datetime.now(UTC))
    outbox.close()
    making.rename(folder)
    return folder


def _inspection(number: int) -> Inspection:
    box = {"category": "bolt", "score": 0.91, "bbox": (100.0, 120.0, 60.0, 58.0)}
    return Inspection.model_validate(
        {
            "result_id": uuid4(),
            "job_id": uuid4(),
            "trigger_id": uuid4().hex,
            "part_id": f"B{number:06d}",
            "view": "main",
            "verdict": Verdict.OK,
            "result_state": ResultState.COMPLETED,
            "reasons": (),
            "detections": (box,) * 10,
            "recipe_id": "plate-a",
            "recipe_version": 1,
            "processing_ms": 12.0,
            "inference_ms": 8.0,
            "image_width_px": 640,
            "image_height_px": 512,
        }
    )


def _told(values: list[float]) -> str:
    return TOLD.format(**spread(values)) if values else "nothing"


SECTIONS: dict[str, Callable[..., dict[str, Any]]] = {"mqtt": measure, "load": measure_under_load}

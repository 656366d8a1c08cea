"""Fills a database and an image store with a plausible plant, for looking at the dashboard.

``python tests/e2e/seed_dashboard.py FOLDER`` makes FOLDER/sightline.db and FOLDER/images; with
``--live`` parts and heartbeats keep coming until it is stopped.
"""

import argparse
import json
import math
import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy.orm import Session

from cloud.auth import Accounts
from cloud.db import tables as t
from cloud.db.migration import migrate
from cloud.db.recount import recount
from cloud.db.session import Database
from cloud.image_store import ImageStore
from models.contract.bundle import CategoryKind, ModelRef
from models.contract.messages import (
    Connection,
    DesiredModel,
    ReasonCode,
    Reported,
    ResultState,
    StationState,
    StationStatus,
    Verdict,
)
from simulators.dataset import DatasetPlan, jpeg_bytes, render_indexed
from simulators.parts import DEFECTS

USER, PASSWORD = "mara", "correct horse"
CELLS = ("demo/assembly/line1/cell1", "demo/assembly/line2/cell1")
OBJECTS = ("bolt", "screw", "label")
OLD_DEFECTS = ("missing_bolt", "missing_label", "scratch")
NEW_DEFECTS = ("torn_label", "wrong_screw")
CATEGORIES = OBJECTS + OLD_DEFECTS + NEW_DEFECTS
BUNDLES = {1: "4f1d2c7a9b3e6058", 2: "a07be91f3c55d264", 3: "c93e0b7712ad48f6"}
SNAPSHOTS = ("1b2c3d4e5f607182", "9e8d7c6b5a493827")
BOOTS = {cell: uuid4() for cell in CELLS}
HARD = ("reject", "uncertain", "weak_expected", "audit", "novelty", "low_score_under_ok")


class Plant:
    """Writes rows as ingest and the learning services would."""

    def __init__(self, folder: Path, *, seed: int = 7) -> None:
        self.random = random.Random(seed)  # noqa: S311 - no secrets here
        self.folder = folder
        self.database = Database(f"sqlite:///{folder / 'sightline.db'}")
        self.images = ImageStore(str(folder / "images"))
        self.seq = 0
        self.part = 18200
        self.pictures: list[tuple[bytes, list[dict[str, Any]]]] = []
        migrate(self.database)

    def render(self, count: int) -> None:
        """Store pictures; each with the boxes that a detector would find."""
        plan = DatasetPlan(count=count, seed=5, defects=DEFECTS, defect_rate=0.75)
        for index in range(count):
            picture = render_indexed(plan, index)
            content = jpeg_bytes(picture.image)
            found = [
                {
                    "category": box.category.value,
                    "score": round(self.random.uniform(0.55, 0.99), 3),
                    "bbox": [round(side, 1) for side in box.bbox],
                }
                for box in picture.annotations
                if box.category.value in OBJECTS + OLD_DEFECTS
            ]
            self.pictures.append((content, found))

    def result(self, session: Session, cell: str, at: datetime, picture: int | None) -> None:
        """One part, with its picture when it was a hard one."""
        self.seq += 1
        self.part += 1
        result_id = uuid4()
        found: list[dict[str, Any]] = []
        sha256, num_bytes = None, 0
        if picture is not None:
            content, found = self.pictures[picture]
            # Behind the end of a JPEG anything may follow: each part has a picture of its own.
            content += f"{self.part}".encode()
            sha256, num_bytes = self.images.put(content), len(content)
        defects = [item["category"] for item in found if item["category"] not in OBJECTS]
        verdict = Verdict.NOT_OK if defects else Verdict.OK
        if picture is None and self.random.random() < 0.012:
            verdict = Verdict.NOT_DECIDABLE
        reasons = [
            {"code": ReasonCode.DEFECT.value, "category": name}
            if "missing" not in name
            else {
                "code": ReasonCode.MISSING_OBJECT.value,
                "category": name.removeprefix("missing_"),
            }
            for name in dict.fromkeys(defects)
        ]
        if verdict is Verdict.NOT_DECIDABLE:
            reasons = [{"code": ReasonCode.BLURRED.value, "text": "picture is blurred"}]
        hard = ["reject"] if verdict is Verdict.NOT_OK else [self.random.choice(HARD[1:])]
        boot = BOOTS[cell]
        session.add(
            t.Result(
                cell=cell, boot_id=boot, seq=self.seq, created_at=at, received_at=at,
                result_id=result_id, job_id=uuid4(), trigger_id=f"t{self.seq}",
                part_id=f"P-{self.part:06d}", view="main", verdict=verdict, is_partial=False,
                result_state=ResultState.COMPLETED, reasons=reasons, detections=found,
                recipe_id="plate", recipe_version=2, release=1, bundle_id=BUNDLES[1],
                model_name="plate", processing_ms=round(self.random.gammavariate(9, 1.6) + 8, 2),
                inference_ms=6.2, image_width_px=640, image_height_px=512, image_sha256=sha256,
                hard_reasons=hard if sha256 else [], is_simulated=True,
            )
        )  # fmt: skip
        for position, reason in enumerate(reasons):
            session.add(
                t.Finding(
                    cell=cell, boot_id=boot, seq=self.seq, position=position, created_at=at,
                    code=ReasonCode(reason["code"]), category=reason.get("category"),
                )
            )  # fmt: skip
        if sha256:
            session.add(
                t.Image(
                    sha256=sha256, content_type="image/jpeg", num_bytes=num_bytes, width_px=640,
                    height_px=512, cell=cell, boot_id=boot, seq=self.seq, created_at=at,
                    received_at=at, result_id=result_id, part_id=f"P-{self.part:06d}",
                    view="main", hard_reasons=hard, status=t.ReviewStatus.PENDING, revision=0,
                )
            )  # fmt: skip

    def heartbeat(self, session: Session, cell: str, *, connection: str = "online") -> None:
        """The cell's state as its agent repeats it."""
        now = datetime.now(UTC)
        model = ModelRef(release=1, bundle_id=BUNDLES[1], name="plate")
        row = session.get(t.Cell, cell)
        if row is None:
            row = t.Cell(cell=cell, first_seen_at=now)
            session.add(row)
        row.status_at = row.reported_at = now
        status = StationStatus(
            cell=cell, connection=Connection(connection), station_state=StationState.READY,
            recipe_id="plate", recipe_version=2, model=model,
        )  # fmt: skip
        reported = Reported(
            cell=cell, boot_id=BOOTS[cell], agent_version="0.1.0", model=model, sent_at=now
        )
        desired = DesiredModel(model=model, rollout_id="rollout-1", issued_at=now)
        row.status = status.model_dump(mode="json")
        row.reported = reported.model_dump(mode="json")
        row.desired = desired.model_dump(mode="json")

    def history(self, count: int) -> None:
        """The shift so far."""
        now = datetime.now(UTC)
        with self.database.write() as session:
            for number, name in enumerate(CATEGORIES):
                session.add(
                    t.CategoryRow(
                        name=name,
                        kind=_kind(name),
                        position=number,
                        created_at=now,
                        created_by="import",
                    )
                )
            for cell in CELLS:
                self.heartbeat(session, cell)
            every = max(1, count // max(1, len(self.pictures)))
            for number in range(count):
                at = now - timedelta(seconds=8 * (count - number))
                picture = number // every if number % every == 0 else None
                if picture is not None and picture >= len(self.pictures):
                    picture = None
                self.result(
                    session, CELLS[number % 2 if picture is None else picture % 2], at, picture
                )
            session.flush()
            recount(session.connection())

    def learning(self, *, is_training: bool) -> None:
        """Snapshots, runs and releases: a baseline, its better successor, one that was refused.

        A run in progress is only for a server that drives none: a real one would take it up.
        """
        now = datetime.now(UTC)
        with self.database.write() as session:
            for number, snapshot_id in enumerate(SNAPSHOTS):
                session.add(
                    t.Snapshot(
                        snapshot_id=snapshot_id, url=f"var/snapshots/{snapshot_id}",
                        parent=SNAPSHOTS[0] if number else None, manifest=_manifest(snapshot_id),
                        created_at=now - timedelta(hours=30 - 26 * number), created_by="sightline",
                    )
                )  # fmt: skip
                session.flush()
            for run in _runs(self.folder, now)[: 3 if is_training else 2]:
                session.add(run)
            session.flush()
            for release in _releases(now):
                session.add(release)
            session.flush()
            session.add(
                t.Rollout(
                    rollout_id="rollout-2", release=2, state=t.RolloutState.RUNNING,
                    waves=[[CELLS[1]], [CELLS[0]]], wave=0, wave_started_at=now,
                    canary_parts=20, shadow_parts=5, created_at=now - timedelta(minutes=2),
                    created_by="mara",
                )
            )  # fmt: skip
            session.flush()
            for wave, (cell, phase, reported) in enumerate(
                [
                    (CELLS[1], t.RolloutPhase.SENT, "canary"),
                    (CELLS[0], t.RolloutPhase.WAITING, None),
                ]
            ):
                session.add(
                    t.RolloutCell(
                        rollout_id="rollout-2", cell=cell, wave=wave, phase=phase,
                        reported_phase=reported, from_release=1, updated_at=now,
                    )
                )  # fmt: skip

    def live(self) -> None:
        """Parts and heartbeats until the process is stopped."""
        while True:
            with self.database.write() as session:
                for cell in CELLS:
                    self.heartbeat(session, cell)
                    picture = self.random.randrange(len(self.pictures))
                    hard = self.random.random() < 0.1
                    self.result(session, cell, datetime.now(UTC), picture if hard else None)
                session.flush()
                recount(session.connection())
            time.sleep(0.8)


def _kind(name: str) -> CategoryKind:
    return CategoryKind.OBJECT if name in OBJECTS else CategoryKind.DEFECT


def _manifest(snapshot_id: str) -> dict[str, Any]:
    grown = snapshot_id == SNAPSHOTS[1]
    counts = {"train": 420 + 92 * grown, "val": 61 + 12 * grown, "locked": 119 + 24 * grown}
    return {
        "snapshot_id": snapshot_id,
        "splits": {
            split: {"num_images": number, "num_boxes": number * 11}
            for split, number in counts.items()
        },
    }


def _evaluation(release: int, map50: float, scores: dict[str, float]) -> dict[str, Any]:
    return {
        "bundle_id": BUNDLES[release], "map50": map50, "map": round(map50 * 0.74, 3),
        "num_images": 143, "latency_ms": {"p50": 6.1, "p99": 9.8},
        "per_class": {
            name: {"ap50": score, "recall": min(1.0, score + 0.01), "num_boxes": 40 + 3 * len(name)}
            for name, score in scores.items()
        },
    }  # fmt: skip


BEFORE = dict.fromkeys(OBJECTS, 0.995) | {"missing_bolt": 0.987, "missing_label": 0.99,
          "scratch": 0.958, "torn_label": 0.0, "wrong_screw": 0.0}  # fmt: skip
AFTER = dict.fromkeys(OBJECTS, 0.996) | {"missing_bolt": 0.985, "missing_label": 0.993,
         "scratch": 0.961, "torn_label": 0.93, "wrong_screw": 0.905}  # fmt: skip


def _gates(*, refused: bool) -> list[dict[str, Any]]:
    texts = [
        ("better overall", True, "mAP@0.5 0.970 against 0.740 of the running model"),
        ("old classes", not refused, "mean AP@0.5 over 6 known categories 0.988 against 0.987"),
        ("recall", True, "no known category lost recall beyond doubt"),
        ("int8", True, "INT8 mAP@0.5 0.970 against 0.972 in float"),
        ("latency", True, "6.1 ms a picture (budget 50 ms)"),
        ("golden", True, "6 golden pictures in the bundle"),
    ]
    return [{"gate": gate, "name": gate, "passed": ok, "text": text} for gate, ok, text in texts]


def _progress(steps: int, until: int) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = [{"event": "progress", "stage": "load", "step": 1, "steps": 1}]
    for step in range(10, until + 1, 10):
        line = {
            "event": "progress", "stage": "fit", "step": step, "steps": steps,
            "loss": round(3.4 * math.exp(-step / 160) + 0.62 + 0.05 * math.sin(step), 3),
            "rate": 14.2, "seconds_left": round((steps - step) * 0.55),
        }  # fmt: skip
        if step % 60 == 0:
            line["map50"] = round(0.96 - 0.5 * math.exp(-step / 150), 3)
        lines.append(line)
    return lines


def _runs(folder: Path, now: datetime) -> list[t.TrainingRun]:
    runs = []
    for number, (state, steps, until) in enumerate(
        [
            (t.RunState.REFUSED, 300, 300),
            (t.RunState.SUCCEEDED, 600, 600),
            (t.RunState.RUNNING, 900, 540),
        ]
    ):
        directory = folder / "runs" / f"run{number}"
        directory.mkdir(parents=True, exist_ok=True)
        lines = _progress(steps, until)
        (directory / "events.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
        (directory / "train.log").write_text(
            "spark: local[2], 2 barrier ranks\n"
            + "".join(f"fit: step {x['step']}/{steps} loss {x['loss']}\n" for x in lines[1:][-40:])
        )
        done = state is not t.RunState.RUNNING
        started = now - timedelta(hours=5 - 2 * number) if done else now - timedelta(minutes=5)
        report = {
            "master": "local[2]", "workers": 2, "steps": steps, "seconds": 251.0,
            "snapshot_id": SNAPSHOTS[1], "candidate": _evaluation(2, 0.970, AFTER),
            "running": _evaluation(1, 0.740, BEFORE), "float": _evaluation(2, 0.972, AFTER),
        }  # fmt: skip
        runs.append(
            t.TrainingRun(
                run_id=f"2025112{number}-{number}f3a", state=state, requested_by="sightline",
                trigger="labels" if number else "button", snapshot_id=SNAPSHOTS[1],
                init_bundle_id=BUNDLES[1], compared_bundle_id=BUNDLES[1],
                directory=str(directory), progress=lines[-1], report=report if done else None,
                gates=_gates(refused=number == 0) if done else None,
                release=2 if number == 1 else None,
                created_at=started, started_at=started,
                finished_at=started + timedelta(seconds=251) if done else None,
            )
        )  # fmt: skip
    return runs


def _releases(now: datetime) -> list[t.Release]:
    releases = []
    for number, state, map50, scores in (
        (1, t.ReleaseState.ROLLED_OUT, 0.740, BEFORE),
        (2, t.ReleaseState.APPROVED, 0.970, AFTER),
    ):
        known = [name for name in CATEGORIES if number == 2 or name not in NEW_DEFECTS]
        metrics = _evaluation(number, map50, {name: scores[name] for name in known})
        metrics["per_category"] = metrics["per_class"]
        releases.append(
            t.Release(
                release=number, bundle_id=BUNDLES[number], name="plate", state=state,
                origin="retraining" if number == 2 else "import", bundle_dir="var/bundles/x",
                metrics=metrics,
                lineage={"snapshot_id": SNAPSHOTS[number - 1], "run_id": None,
                         "parent_bundle_id": BUNDLES[1] if number == 2 else None,
                         "code_version": "0.1.0"},
                categories=[{"name": name, "kind": _kind(name).value} for name in known],
                thresholds=dict.fromkeys(known, 0.5),
                run_id="20251121-1f3a" if number == 2 else None,
                created_at=now - timedelta(hours=30 - 28 * (number - 1)), created_by="sightline",
                approved_at=now - timedelta(hours=29 - 28 * (number - 1)), approved_by="mara",
            )
        )  # fmt: skip
    return releases


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--parts", type=int, default=400)
    parser.add_argument("--live", action="store_true")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    plant = Plant(arguments.folder)
    plant.render(arguments.pictures)
    plant.history(arguments.parts)
    plant.learning(is_training=arguments.live)
    Accounts(plant.database).set_user(USER, role=t.Role.ML, password=PASSWORD)
    if arguments.live:
        plant.live()


if __name__ == "__main__":
    main()

"""Fills a plant as `seed_dashboard` does, and adds what quality, controls and administrators see.

``python tests/e2e/seed_operations.py FOLDER``: reviewed audits, exposure of every part, curves on
the locked set, events and dead letters, a user of each role with the password of the first.
"""

import argparse
import hashlib
import math
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import seed_dashboard as base  # type: ignore[import-not-found]

from cloud.auth import Accounts
from cloud.db import tables as t
from cloud.db.recount import recount

NUM_REVIEWED = 60
SCORES = [round(0.05 + 0.01 * step, 2) for step in range(91)]


def review_audits(plant: base.Plant) -> None:
    """Labels for audited OK parts, one of them an escape, and for rejects, some of them good."""
    sound = [n for n, (_, found) in enumerate(plant.pictures) if _is_sound(found)] or [0]
    bad = [n for n, (_, found) in enumerate(plant.pictures) if not _is_sound(found)] or [0]
    now = datetime.now(UTC)
    with plant.database.write() as session:
        for number in range(NUM_REVIEWED):
            of = bad if number % 3 == 0 else sound
            cell = base.CELLS[number % len(base.CELLS)]
            at = now - timedelta(minutes=7 * number + 5)
            plant.result(session, cell, at, of[number % len(of)])
            session.flush()
            image = session.query(t.Image).filter_by(seq=plant.seq, cell=cell).one()
            is_bad = number % 3 == 0 and number % 21 != 0
            boxes = [{"category": "bolt", "bbox": [40, 40, 50, 50]}]
            if is_bad or number == 22:
                boxes.append({"category": "scratch", "bbox": [300, 200, 60, 20]})
            if number % 3:
                image.hard_reasons = ["audit"]
                session.query(t.Result).filter_by(seq=plant.seq, cell=cell).update(
                    {"hard_reasons": ["audit"]}
                )
            image.status, image.revision, image.reviewer = t.ReviewStatus.LABELLED, 1, "quinn"
            session.add(
                t.Annotation(
                    image_sha256=image.sha256, revision=1, decision=t.ReviewStatus.LABELLED,
                    boxes=boxes, reviewer="quinn", created_at=now,
                )
            )  # fmt: skip


def _is_sound(found: list[dict[str, Any]]) -> bool:
    return all(item["category"] in base.OBJECTS for item in found)


def expose(plant: base.Plant) -> None:
    """Brightness, sharpness and boxes of every part; the lamp of the second cell grows old."""
    with plant.database.write() as session:
        rows = session.query(t.Result).order_by(t.Result.created_at).all()
        for number, row in enumerate(rows):
            is_late = row.cell == base.CELLS[1] and number > 0.6 * len(rows)
            row.mean_grey = round(plant.random.gauss(92.0 if is_late else 118.0, 4.0), 2)
            row.sharpness = round(plant.random.gauss(410.0, 35.0), 2)
            if not row.detections:
                row.detections = [
                    {
                        "category": "bolt",
                        "score": round(min(0.999, plant.random.gauss(0.93, 0.03)), 3),
                        "bbox": [40.0 + 90 * place, 40.0, 50.0, 50.0],
                    }
                    for place in range(6)
                ]


def curves(plant: base.Plant) -> None:
    """What each score would give, for every category of both releases."""
    with plant.database.write() as session:
        for release in session.query(t.Release):
            per_class = {
                str(item["name"]): {"curve": _curve(number)}
                for number, item in enumerate(release.categories)
            }
            analysis = {"num_pictures": 143, "per_class": per_class}
            release.metrics = release.metrics | {"analysis": analysis}
            release.run_id = None if release.release == 1 else release.run_id
        for run in session.query(t.TrainingRun).filter(t.TrainingRun.release.is_not(None)):
            release = session.get_one(t.Release, run.release)
            candidate = (run.report or {}).get("candidate") or {}
            run.report = (run.report or {}) | {
                "candidate": candidate | {"analysis": release.metrics["analysis"]}
            }


def _curve(number: int) -> dict[str, Any]:
    middle = 0.55 + 0.04 * (number % 5)
    recall = [round(1 / (1 + math.exp((score - middle - 0.2) / 0.06)), 4) for score in SCORES]
    alarms = [round(0.4 * math.exp(-(score - 0.05) / 0.12), 5) for score in SCORES]
    boxes = 40 + 9 * number
    found = [share * boxes for share in recall]
    return {
        "thresholds": SCORES,
        "recall": recall,
        "precision": [
            round(hits / (hits + 143 * wrong), 4) if hits else None
            for hits, wrong in zip(found, alarms, strict=True)
        ],
        "false_alarms_per_image": alarms,
        "expected_cost": alarms,
        "chosen": 0.5,
        "best": 0.5,
        "num_boxes": boxes,
    }


def operate(plant: base.Plant) -> None:
    """Station events, dead letters, what waits in the cells, and an alarm at one of them."""
    now = datetime.now(UTC)
    with plant.database.write() as session:
        for number, (code, words) in enumerate(
            [
                ("recipe_selected", "plate v2 by the PLC"),
                ("model_active", "plate r1 passed its trial of 20 parts"),
                ("alarm", "camera delivered no frame within 0.5 s"),
                ("state", "error, reset by the PLC"),
            ]
        ):
            cell = base.CELLS[number % len(base.CELLS)]
            session.add(
                t.StationLogEntry(
                    cell=cell, boot_id=base.BOOTS[cell], seq=900_000 + number,
                    created_at=now - timedelta(minutes=9 * number + 2), received_at=now, code=code,
                    text=words, station_state=None, release=1, bundle_id=base.BUNDLES[1],
                )
            )  # fmt: skip
        for number, (reason, payload) in enumerate(
            [
                ("Event: body.inspection.verdict: 'okay' is no verdict",
                 b'{"schema_version":"1.0","cell":"demo/assembly/line1/cell1","body":{"verdict":"okay"}}'),
                ("the picture is cut off", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01"),
                ("Event of 1200044 bytes is over the limit", b"[" * 300),
            ]
        ):  # fmt: skip
            session.add(
                t.DeadLetter(
                    digest=hashlib.sha256(payload).hexdigest(),
                    received_at=now - timedelta(minutes=30 * number), cell=base.CELLS[0],
                    topic=f"sightline/v1/{base.CELLS[0]}/up/{'image' if number == 1 else 'event'}",
                    reason=reason, num_bytes=len(payload), payload=payload,
                )
            )  # fmt: skip
        second = session.get_one(t.Cell, base.CELLS[1])
        alarm = {
            "code": "camera",
            "cause": "The camera's picture is 22 % darker than when the model came",
            "action": "Clean the lamp, or replace it",
        }
        second.status = (second.status or {}) | {"alarms": [alarm], "num_overruns": 3}
        second.reported = (second.reported or {}) | {"outbox_records": 1840, "outbox_images": 12}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--parts", type=int, default=400)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    plant = base.Plant(arguments.folder)
    plant.render(arguments.pictures)
    plant.history(arguments.parts)
    plant.learning(is_training=False)
    review_audits(plant)
    expose(plant)
    curves(plant)
    operate(plant)
    with plant.database.write() as session:
        recount(session.connection())
    accounts = Accounts(plant.database)
    accounts.set_user(base.USER, role=t.Role.ML, password=base.PASSWORD)
    for role in t.Role:
        accounts.set_user(role.value, role=role, password=base.PASSWORD)


if __name__ == "__main__":
    main()

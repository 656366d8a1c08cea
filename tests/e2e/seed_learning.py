"""Adds to a seeded plant what the pages of learning show: looks, snapshots, compared models.

``python tests/e2e/seed_learning.py FOLDER`` makes FOLDER/sightline.db, images, snapshots and runs.
"""

import argparse
import hashlib
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import seed_dashboard as base  # type: ignore[import-not-found]

from cloud.agreement import SecondReview
from cloud.auth import Accounts
from cloud.db import tables as t
from cloud.db.recount import recount
from cloud.labeling import Labeling
from cloud.likeness import look_at
from cloud.near_duplicates import NewPicture, keep_likenesses
from cloud.review_items import LabelledBox
from cloud.snapshot_files import LabelledPicture, plan_changes, write_snapshot
from models.contract.bundle import Category
from models.contract.picture_results import (
    CANDIDATE,
    RESULTS_NAME,
    RUNNING,
    ComparedModel,
    FoundBox,
    PictureResult,
    ResultsHead,
    TrueBox,
    write_results,
)
from models.contract.snapshot import Box
from simulators.dataset import DatasetPlan, jpeg_bytes, render_indexed
from simulators.parts import DEFECTS

RELEASED = Path(__file__).parents[2] / "models" / "released" / "plate"


def look_twice(plant: base.Plant, num_alike: int) -> None:
    """Pictures alike, one that waits for a second look, one that is disputed."""
    now = datetime.now(UTC)
    with plant.database.write() as session:
        for number in range(num_alike):
            plant.result(session, base.CELLS[0], now - timedelta(seconds=30 - number), 1)
    with plant.database.write() as session:
        for image in session.query(t.Image).order_by(t.Image.created_at):
            seen = look_at(plant.images.get(image.sha256))
            assert seen is not None
            keep_likenesses(
                session, [NewPicture(image.sha256, image.cell, image.view, image.created_at, seen)]
            )
        recount(session.connection())
    labeling = Labeling(plant.database, policy=SecondReview(share=1.0))
    items = labeling.queue(limit=100)
    second, disputed, agreed, *_ = [item for item in items if not item.num_alike]
    for item in (second, disputed, agreed):
        boxes = [LabelledBox(box.category, box.bbox) for box in item.proposals]
        sha256 = item.image.sha256
        labeling.save(sha256, decision=t.ReviewStatus.LABELLED, boxes=boxes, reviewer="anna")
        if item is not second:
            seen_by_ben = boxes if item is agreed else _shifted(boxes)
            labeling.save(
                sha256, decision=t.ReviewStatus.LABELLED, boxes=seen_by_ben, reviewer="ben"
            )


def _shifted(boxes: list[LabelledBox]) -> list[LabelledBox]:
    first, *rest = boxes
    x, y, width, height = first.bbox
    return [LabelledBox(first.category, (x + width, y, width, height)), *rest[:-1]]


def make_snapshot(plant: base.Plant, count: int) -> dict[str, tuple[Box, ...]]:
    """A snapshot that is really there; gives the labels of its pictures."""
    folder = plant.folder / "snapshots"
    contents: dict[str, bytes] = {}
    pictures = []
    plan = DatasetPlan(count=count, seed=11, defects=DEFECTS, defect_rate=0.8)
    for index in range(count):
        picture = render_indexed(plan, index)
        content = jpeg_bytes(picture.image)
        sha256 = hashlib.sha256(content).hexdigest()
        contents[sha256] = content
        height, width = picture.image.shape[:2]
        boxes = tuple(
            (box.category.value, float(x), float(y), float(w), float(h))
            for box in picture.annotations
            for x, y, w, h in [box.bbox]
        )
        pictures.append(
            LabelledPicture(
                sha256, f"{index:04d}.jpg", f"D-{index:04d}", "import", width, height, boxes
            )
        )
    empty = folder / "empty"
    empty.mkdir(parents=True)
    identity = hashlib.sha256().hexdigest()[:16]
    (empty / "manifest.json").write_text(
        f'{{"snapshot_id": "{identity}", "created_at": "2026-03-02T06:00:00Z",'
        ' "categories": [], "splits": {}}'
    )
    changes = plan_changes([], pictures, [])
    categories = [Category(name=name, kind=base._kind(name)) for name in base.CATEGORIES]
    url = f"{folder}/{base.SNAPSHOTS[1]}"
    manifest = write_snapshot(
        url,
        parent_url=str(empty),
        changes=changes,
        read_image=contents.__getitem__,
        categories=categories,
        created_at=datetime.now(UTC),
    )
    with plant.database.write() as session:
        row = session.get_one(t.Snapshot, base.SNAPSHOTS[1])
        row.url = url
        row.manifest = manifest.model_dump(mode="json") | {"snapshot_id": base.SNAPSHOTS[1]}
    locked = {picture.image_id for split, picture in changes.added if split == "locked"}
    return {picture.image_id: picture.boxes for picture in pictures if picture.image_id in locked}


def compare_models(plant: base.Plant, locked: dict[str, tuple[Box, ...]]) -> None:
    """What two models found: the new one knows the new defects, and doubts one label."""
    chance = random.Random(3)  # noqa: S311 - no secrets here
    pictures = []
    for number, (image_id, boxes) in enumerate(sorted(locked.items())):
        labels = [TrueBox(category=name, bbox=tuple(sides)) for name, *sides in boxes]
        candidate = [_found(box, chance.uniform(0.8, 0.99)) for box in labels]
        running = [
            _found(box, chance.uniform(0.6, 0.98))
            for box in labels
            if box.category not in base.NEW_DEFECTS and chance.random() > 0.08
        ]
        if number == 0:
            running = running[1:]  # at least one picture is better
        if number == 1 and candidate:
            candidate = candidate[1:]  # a box that only the running model finds
        if number == 2:
            labels = labels[1:]  # a label that somebody forgot
        pictures.append(
            PictureResult(
                image_id=image_id,
                labels=tuple(labels),
                found={CANDIDATE: tuple(candidate), RUNNING: tuple(running)},
            )
        )
    thresholds = dict.fromkeys(base.CATEGORIES, 0.5)
    with plant.database.write() as session:
        run = session.get_one(t.TrainingRun, "20251121-1f3a")
        folder = Path(run.directory)
        for release in session.query(t.Release):
            release.bundle_dir = str(RELEASED)
    head = ResultsHead(
        snapshot_id=base.SNAPSHOTS[1],
        models={
            CANDIDATE: ComparedModel(
                bundle_id=base.BUNDLES[2], name="plate", thresholds=thresholds
            ),
            RUNNING: ComparedModel(bundle_id=base.BUNDLES[1], name="plate", thresholds=thresholds),
        },
    )
    write_results(folder / RESULTS_NAME, head, pictures)


def _found(box: TrueBox, score: float) -> FoundBox:
    x, y, width, height = box.bbox
    return FoundBox(
        category=box.category, score=round(score, 3), bbox=(x + 1, y, width, height + 1)
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--parts", type=int, default=120)
    parser.add_argument("--alike", type=int, default=3)
    parser.add_argument("--dataset", type=int, default=30)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    plant = base.Plant(arguments.folder)
    plant.render(arguments.pictures)
    plant.history(arguments.parts)
    plant.learning(is_training=False)
    look_twice(plant, arguments.alike)
    compare_models(plant, make_snapshot(plant, arguments.dataset))
    Accounts(plant.database).set_user(base.USER, role=t.Role.ML, password=base.PASSWORD)


if __name__ == "__main__":
    main()

from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.contract.bundle import Category
from models.contract.snapshot import SnapshotManifest, Split, SplitCounts
from models.training.errors import InputError
from models.training.preparation import FitRequest
from models.training.preview import Sheet, make_sheet, write_sheet

NUM_PICTURES = 12
BOX = {"category": "bolt", "x": 30.0, "y": 20.0, "width": 24.0, "height": 24.0}


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("snapshot")
    rows = []
    for number in range(NUM_PICTURES):
        picture = np.full((96, 128, 3), 20 * number, np.uint8)
        cv2.rectangle(picture, (30, 20), (54, 44), (0, 0, 255), -1)
        rows.append(
            {
                "image_id": f"{number:02}",
                "file_name": f"{number}.png",
                "part_id": f"P{number}",
                "source": "test",
                "width": 128,
                "height": 96,
                "image": cv2.imencode(".png", picture)[1].tobytes(),
                "annotations": [BOX],
            }
        )
    data = folder / "data" / "split=train"
    data.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), data / "part.parquet")
    manifest = SnapshotManifest(
        snapshot_id="0" * 16,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        categories=(Category(name="bolt"), Category(name="dent")),
        splits={Split.TRAIN: SplitCounts(num_images=NUM_PICTURES, num_boxes=NUM_PICTURES)},
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return folder


def sheet(snapshot: Path, seed: int, count: int = 6) -> Sheet:
    request = FitRequest(
        snapshot_url=str(snapshot),
        init="imagenet",
        run_dir=snapshot / "no-run",
        name="preview",
        workers=1,
        budget_s=600.0,
        overrides={"seed": seed},
    )
    return make_sheet(request, count)[0]


def test_same_seed_gives_the_same_sheet_and_another_seed_another(snapshot: Path) -> None:
    first, again, other = sheet(snapshot, 1), sheet(snapshot, 1), sheet(snapshot, 2)
    np.testing.assert_array_equal(first.image, again.image)
    same_shape = first.image.shape == other.image.shape
    assert not (same_shape and np.array_equal(first.image, other.image))


def test_sheet_counts_what_it_shows(snapshot: Path) -> None:
    # More pictures than a step has, and than there are.
    shown = sheet(snapshot, 1, count=30)
    assert shown.boxes["dent"] == 0
    assert 15 <= shown.boxes["bolt"] + shown.num_cut <= 30


def test_sheet_is_written_as_the_name_says(snapshot: Path, tmp_path: Path) -> None:
    made = sheet(snapshot, 1)
    write_sheet(made, tmp_path / "new" / "sheet.png")
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "new" / "sheet.png")), made.image)
    with pytest.raises(InputError, match=r"name a \.jpg or \.png file"):
        write_sheet(made, tmp_path / "sheet.txt")

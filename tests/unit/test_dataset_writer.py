import json
from pathlib import Path

import cv2
import pytest

from simulators.cli import main
from simulators.dataset import DatasetPlan, categories_of, part_id_of, write_dataset
from simulators.parts import Kind, SceneSettings

SMALL = SceneSettings(width_px=160, height_px=128)


def test_a_data_set_is_coco_with_part_ids(tmp_path: Path) -> None:
    plan = DatasetPlan(count=3, seed=9, scene=SMALL, defect_rate=1.0)
    coco = json.loads(write_dataset(tmp_path, plan).read_text())
    assert [image["part_id"] for image in coco["images"]] == [part_id_of(plan, i) for i in range(3)]
    names = {category["id"]: category["name"] for category in coco["categories"]}
    assert {names[box["category_id"]] for box in coco["annotations"]} > {"bolt", "screw"}
    for image in coco["images"]:
        picture = cv2.imread(str(tmp_path / "images" / image["file_name"]))
        assert picture is not None
        assert picture.shape == (image["height"], image["width"], 3)


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    plan = DatasetPlan(count=2, seed=4, scene=SMALL)
    for name in ("one", "two"):
        write_dataset(tmp_path / name, plan)
    for path in (tmp_path / "one" / "images").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / "images" / path.name).read_bytes()
    labels = [(tmp_path / name / "coco.json").read_bytes() for name in ("one", "two")]
    assert labels[0] == labels[1]


def test_categories_keep_their_order_whatever_order_they_are_asked_in() -> None:
    asked = (Kind.TORN_LABEL, Kind.MISSING_BOLT)
    names = [category["name"] for category in categories_of(asked)]
    assert names == ["bolt", "screw", "label", "missing_bolt", "torn_label"]


def test_an_unknown_defect_gets_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["sightline-sim", "dataset", str(tmp_path), "--defects", "dent"]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "unknown defect 'dent'" in error

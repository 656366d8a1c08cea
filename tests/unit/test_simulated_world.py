"""Drift, truth, photographs, camera faults, recipes: the simulated plant without a network."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.contract.messages import Verdict
from models.contract.recipe import read_recipe
from simulators.camera import CameraFault, FaultyLens, SpoolCamera
from simulators.dataset import jpeg_bytes
from simulators.drift import DriftSchedule
from simulators.errors import SimulatorError
from simulators.parts import Kind, draw_part, part_rng, render
from simulators.recipes import plate_recipe, write_recipe
from simulators.sources import PhotoAlbum, PhotoSource, RenderedSource
from simulators.truth import TruePart, TruthBook

CELL = "plant1/assembly/line1/cell1"
GREY = jpeg_bytes(np.full((48, 64, 3), 120, np.uint8))


def test_a_new_defect_begins_at_its_part_and_not_before() -> None:
    schedule = DriftSchedule(emerging=(Kind.TORN_LABEL,), emerging_from=10)
    assert all(Kind.TORN_LABEL not in kinds for kinds, _ in schedule.at(9).defects)
    assert schedule.at(10).defects[0] == ((Kind.TORN_LABEL,), 0.5)


def test_a_lamp_ages_and_a_new_variant_replaces_the_old_ones() -> None:
    schedule = DriftSchedule(lamp_parts=100, new_variant_from=4)
    assert schedule.at(50).lamp_ageing == 0.5
    assert schedule.at(500).lamp_ageing == 1.0
    assert [schedule.at(index).variant for index in (0, 1, 4)] == ["a", "b", "c"]


def test_a_rendered_source_gives_the_same_part_again() -> None:
    source = RenderedSource(CELL, "L1", 5, DriftSchedule(known_rate=1.0), 160, 128)
    first, second = source.part(3), source.part(3)
    assert first.picture == second.picture
    assert first.truth == second.truth
    assert first.truth.actual is Verdict.NOT_OK
    assert first.truth.part_id == "L1-000003"


def test_the_truth_survives_a_restart_even_if_the_last_line_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    book = TruthBook(path)
    part = TruePart("p1", CELL, (("bolt", (1.0, 2.0, 3.0, 4.0)),), Verdict.OK)
    book.add(part)
    book.close()
    with path.open("a") as stream:
        stream.write('{"part_id": "p2", "ce')
    again = TruthBook(path)
    assert again.get("p1") == part
    assert again.get("p2") is None
    assert again.count(CELL) == 1
    again.close()


def test_a_picture_appears_under_its_part_and_leaves_with_it(tmp_path: Path) -> None:
    camera = SpoolCamera(tmp_path / "spool")
    camera.expose("p1", GREY)
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["p1.jpg"]
    camera.clear()
    assert list((tmp_path / "spool").iterdir()) == []


def test_camera_faults_show_in_the_picture() -> None:
    lens = FaultyLens()
    other = jpeg_bytes(np.full((48, 64, 3), 200, np.uint8))
    assert lens.through(GREY) == GREY
    lens.fault = CameraFault.FROZEN
    assert lens.through(other) == GREY
    lens.fault = CameraFault.GONE
    assert lens.through(other) is None
    lens.fault = CameraFault.BLACK
    black = lens.through(other)
    assert black is not None
    image = cv2.imdecode(np.frombuffer(black, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.max() == 0


def test_the_plates_recipe_survives_its_file(tmp_path: Path) -> None:
    recipe = plate_recipe()
    write_recipe(recipe, tmp_path / "plate.toml")
    assert read_recipe(tmp_path / "plate.toml") == recipe


def test_every_object_of_a_good_part_lies_in_its_zone() -> None:
    (view,) = plate_recipe().views
    for index in range(3):
        boxes = render(draw_part(part_rng(31, index))).annotations
        for expected in view.expected:
            assert expected.zone is not None
            middles = [
                (box.bbox[0] + box.bbox[2] / 2, box.bbox[1] + box.bbox[3] / 2)
                for box in boxes
                if box.category == expected.category
            ]
            assert sum(expected.zone.contains(x, y) for x, y in middles) == 1


def _album(folder: Path) -> PhotoAlbum:
    (folder / "one.jpg").write_bytes(GREY)
    (folder / "two.jpg").write_bytes(GREY)
    coco = {
        "images": [
            {"id": 1, "file_name": "one.jpg", "width": 64, "height": 48},
            {"id": 2, "file_name": "two.jpg", "width": 64, "height": 48},
        ],
        "annotations": [{"id": 1, "image_id": 2, "category_id": 7, "bbox": [1, 2, 3, 4]}],
        "categories": [{"id": 7, "name": "missing_screw"}],
    }
    (folder / "coco.json").write_text(json.dumps(coco))
    return PhotoAlbum.read(folder, folder / "coco.json")


def test_photographs_go_round_under_names_of_their_own(tmp_path: Path) -> None:
    album = _album(tmp_path)
    source = PhotoSource(CELL, album.photos, frozenset({"missing_screw"}), "P")
    parts = [source.part(index).truth for index in range(4)]
    assert [part.part_id for part in parts] == ["P-one", "P-two", "P-one-2", "P-two-2"]
    assert [part.actual for part in parts] == [Verdict.OK, Verdict.NOT_OK] * 2


def test_a_missing_picture_is_named_in_one_line(tmp_path: Path) -> None:
    _album(tmp_path)
    (tmp_path / "two.jpg").unlink()
    with pytest.raises(SimulatorError, match=r"two\.jpg .* does not exist"):
        PhotoAlbum.read(tmp_path, tmp_path / "coco.json")


def test_a_file_that_is_not_coco_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "coco.json").write_text("[]")
    with pytest.raises(SimulatorError, match=r"coco\.json is not a COCO file"):
        PhotoAlbum.read(tmp_path, tmp_path / "coco.json")

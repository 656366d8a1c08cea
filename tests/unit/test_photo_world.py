import json
from pathlib import Path

import pytest

from simulators.demo.cli import with_photographs
from simulators.demo.photo_world import PhotoWorld, write_coco
from simulators.demo.plan import DemoPlan, Photographs
from simulators.errors import SimulatorError

NUM_PHOTOS = 40


@pytest.fixture
def album(tmp_path: Path) -> Photographs:
    """Forty pictures, every second one with an empty screw hole."""
    (tmp_path / "left").mkdir()
    images, annotations = [], []
    for number in range(1, NUM_PHOTOS + 1):
        name = f"left/{number:03d}.jpg"
        (tmp_path / name).write_bytes(b"not looked at")
        images.append({"id": number, "file_name": name, "width": 600, "height": 789})
        category = 1 + number % 2
        annotations.append(
            {"id": number, "image_id": number, "category_id": category, "bbox": [1, 2, 30, 40]}
        )
    categories = [{"id": 1, "name": "screw"}, {"id": 2, "name": "missing_screw"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "coco.json").write_text(json.dumps(document))
    return Photographs(tmp_path, tmp_path / "coco.json")


def world_of(album: Photographs) -> PhotoWorld:
    return PhotoWorld.read(with_photographs(DemoPlan(), album), album)


def test_a_picture_is_labelled_from_the_beginning_or_comes_down_a_line(
    album: Photographs,
) -> None:
    world = world_of(album)
    early, later = set(world.early), set(world.later)
    assert not early & later
    assert len(early) + len(later) == NUM_PHOTOS
    assert min(len(early), len(later)) >= 10
    names = [source.part(0).truth.part_id for source in world.sources()]
    assert len(set(names)) == len(names)


def test_categories_whose_names_tell_of_a_defect_are_defects(album: Photographs) -> None:
    world = world_of(album)
    assert world.defects == ("missing_screw",)
    assert world.objects == ("screw",)
    (view,) = world.recipe.views
    assert [defect.category for defect in view.forbidden] == ["missing_screw"]


def test_labels_of_the_early_pictures_keep_their_folders(
    album: Photographs, tmp_path: Path
) -> None:
    world = world_of(album)
    path = tmp_path / "base" / "coco.json"
    write_coco(path, album.images, world.early, world.album.categories)
    written = json.loads(path.read_text())
    assert {image["file_name"] for image in written["images"]} == {
        photo.path.relative_to(album.images).as_posix() for photo in world.early
    }
    assert len(written["annotations"]) == len(world.early)


def test_an_unknown_class_is_named_with_those_that_there_are(album: Photographs) -> None:
    wrong = Photographs(album.images, album.labels, defects=("dent",))
    with pytest.raises(SimulatorError, match=r"unknown class 'dent': .* has screw, missing_screw"):
        world_of(wrong)

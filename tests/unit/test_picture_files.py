from pathlib import Path

import pytest

from models.training.dataset_formats import LabelledPicture, LabelSet
from models.training.errors import InputError
from models.training.picture_files import list_pictures, read_bytes, with_file_names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.JPG", "line1/b.png", "notes.txt"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "images"


def test_only_pictures_are_listed_by_their_path_in_the_folder(folder: Path) -> None:
    assert list_pictures(str(folder)).names == ("a.JPG", "line1/b.png")


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--images .*gone: no such folder"):
        list_pictures(str(tmp_path / "gone"))


def test_label_finds_its_picture_by_name_else_by_its_own_path(folder: Path) -> None:
    labels = LabelSet(
        (
            LabelledPicture("a.JPG", "a", (), stem="other"),
            LabelledPicture("drawn.tga", "b", (), stem="line1/b"),
            LabelledPicture("gone.png", "c", (), stem="gone"),
        ),
        (),
    )
    named = with_file_names(labels, str(folder))
    assert [picture.file_name for picture in named.pictures] == ["a.JPG", "line1/b.png", "gone.png"]
    assert list_pictures(str(folder)).unnamed(["a.JPG"]) == ["line1/b.png"]


def test_names_that_are_certain_need_no_look_into_the_folder(tmp_path: Path) -> None:
    labels = LabelSet((LabelledPicture("a.jpg", "a", ()),), ())
    assert with_file_names(labels, str(tmp_path / "gone")) is labels


def test_bytes_come_from_paths_and_urls(folder: Path) -> None:
    assert read_bytes(str(folder / "a.JPG")) == read_bytes((folder / "a.JPG").as_uri()) == b"x"
    with pytest.raises(FileNotFoundError):
        read_bytes((folder / "gone.png").as_uri())

"""Folders as cameras: no part is ever judged by another part's picture."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_agent.adapters.folder_camera import CycleCamera, SpoolCamera
from edge_agent.errors import BrokenFrameError, CameraFault, GrabTimeoutError


def put(folder: Path, name: str, grey: int, age_s: float = 0.0) -> Path:
    path = folder / name
    cv2.imwrite(str(path), np.full((8, 10, 3), grey, np.uint8))
    stamp = 1_700_000_000 - age_s
    os.utime(path, (stamp, stamp))
    return path


def grey_of(camera: SpoolCamera | CycleCamera, part_id: str | None = None) -> int:
    return int(camera.grab(0.0, part_id=part_id).image[0, 0, 0])


def test_picture_is_taken_once_and_removed(tmp_path: Path) -> None:
    camera = SpoolCamera(tmp_path)
    path = put(tmp_path, "p1.png", 100)
    frame = camera.grab(0.0, part_id="p1")
    assert (frame.image.shape, frame.source, frame.frame_id) == ((8, 10, 3), "p1.png", 1)
    assert not path.exists()
    with pytest.raises(GrabTimeoutError):
        camera.grab(0.0, part_id="p1")


def test_picture_of_another_part_is_never_taken(tmp_path: Path) -> None:
    put(tmp_path, "p10.png", 100)
    with pytest.raises(GrabTimeoutError):
        SpoolCamera(tmp_path).grab(0.0, part_id="p1")


def test_pictures_of_refused_triggers_are_cleared_away(tmp_path: Path) -> None:
    refused = put(tmp_path, "p1.png", 10, age_s=60)
    put(tmp_path, "p2.png", 20, age_s=30)
    coming = put(tmp_path, "p3.png", 30)
    assert grey_of(SpoolCamera(tmp_path), "p2") == 20
    assert not refused.exists()
    assert coming.exists()


def test_views_of_a_part_come_in_the_order_they_were_taken(tmp_path: Path) -> None:
    camera = SpoolCamera(tmp_path)
    put(tmp_path, "p1~front.png", 10, age_s=2)
    put(tmp_path, "p1~back.png", 20, age_s=1)
    assert [grey_of(camera, "p1"), grey_of(camera, "p1")] == [10, 20]


def test_names_may_be_ignored(tmp_path: Path) -> None:
    camera = SpoolCamera(tmp_path, match_part=False)
    put(tmp_path, "new.png", 20)
    put(tmp_path, "old.png", 10, age_s=5)
    assert [grey_of(camera, "p1"), grey_of(camera, "p2")] == [10, 20]


def test_broken_picture_is_refused_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "p1.jpg"
    path.write_bytes(b"not a picture")
    with pytest.raises(BrokenFrameError, match=r"p1\.jpg"):
        SpoolCamera(tmp_path).grab(0.0, part_id="p1")
    assert not path.exists()


def test_unfinished_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "p1.png.part").write_bytes(b"half")
    with pytest.raises(GrabTimeoutError):
        SpoolCamera(tmp_path).grab(0.0, part_id="p1")


@pytest.mark.parametrize("kind", [SpoolCamera, CycleCamera])
def test_missing_folder_is_a_fault_of_the_camera(
    tmp_path: Path, kind: type[SpoolCamera | CycleCamera]
) -> None:
    with pytest.raises(CameraFault, match="nowhere"):
        kind(tmp_path / "nowhere").open()


def test_round_goes_on_for_ever(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path, f"{number}.png", 10 * number)
    camera = CycleCamera(tmp_path)
    camera.open()
    assert [grey_of(camera) for _ in range(5)] == [0, 10, 20, 0, 10]

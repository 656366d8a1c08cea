import cv2
import numpy as np
import numpy.typing as npt
import pytest

from models.detector.near_duplicates import groups, near_pairs, picture_print

Picture = npt.NDArray[np.uint8]


def part(number: int) -> Picture:
    """A plate with a label and bolts, each plate in its own place as a fixture leaves it."""
    rng = np.random.default_rng(number)
    picture = np.full((240, 320, 3), 120, np.uint8)
    x, y = (int(value) for value in rng.integers(20, 60, 2))
    cv2.rectangle(picture, (x, y), (x + 200, y + 120), (170, 160, 150), -1)
    cv2.rectangle(picture, (x + 20, y + 20), (x + 90, y + 60), (240, 240, 240), -1)
    for corner in ((130, 30), (180, 30), (130, 90), (180, 90)):
        cv2.circle(picture, (x + corner[0], y + corner[1]), 12, (60, 60, 60), -1)
    return picture


def changed(picture: Picture, how: str) -> Picture:
    if how == "another encoding":
        again = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 1)
        return np.asarray(again, np.uint8)
    if how == "half the size":
        return np.asarray(cv2.resize(picture, None, fx=0.5, fy=0.5), np.uint8)
    if how == "a brighter lamp":
        return np.asarray(np.clip(picture * 1.1 + 5, 0, 255), np.uint8)
    noise = np.random.default_rng(1).normal(0, 5, picture.shape)
    return np.asarray(np.clip(picture + noise, 0, 255), np.uint8)


@pytest.mark.parametrize(
    "how", ["another encoding", "half the size", "a brighter lamp", "a second exposure"]
)
def test_same_scene_is_a_near_duplicate(how: str) -> None:
    pictures = [part(1), part(2), changed(part(1), how)]
    assert near_pairs([picture_print(picture) for picture in pictures]).tolist() == [[0, 2]]


def test_part_whose_bolt_is_missing_is_no_duplicate_of_the_whole_one() -> None:
    whole = part(1)
    broken = whole.copy()
    dark = np.argwhere((whole == 60).all(axis=2))
    y, x = dark[0]
    cv2.circle(broken, (int(x), int(y) + 12), 13, (170, 160, 150), -1)
    assert len(near_pairs([picture_print(whole), picture_print(broken)])) == 0


def test_every_near_pair_is_found_among_many() -> None:
    rng = np.random.default_rng(3)
    base = rng.integers(40, 200, (300, 1024)).astype(np.uint8)
    again = base[::3] + rng.integers(0, 11, (100, 1024)).astype(np.uint8)
    prints = [bytes(row) for row in np.concatenate([base, again])]
    expected = [[3 * number, 300 + number] for number in range(100)]
    assert near_pairs(prints).tolist() == expected


def test_no_pictures_have_no_pairs() -> None:
    assert near_pairs([]).shape == (0, 2)


def test_groups_join_what_pairs_join() -> None:
    assert groups(6, np.array([[0, 3], [3, 5], [1, 2]])) == [[0, 3, 5], [1, 2]]

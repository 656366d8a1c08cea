from typing import Any

import numpy as np
import pytest

from models.contract.snapshot import Split, split_of
from models.training.placing import MIN_GROUP_LIMIT, place_rows

PRINTS = np.random.default_rng(1).integers(0, 256, (2000, 1024)).astype(np.uint8)
TRAIN_PART = next(f"T{n}" for n in range(99) if split_of(f"T{n}") is Split.TRAIN)
LOCKED_PART = next(f"L{n}" for n in range(99) if split_of(f"L{n}") is Split.LOCKED)
VAL_PART = next(f"V{n}" for n in range(99) if split_of(f"V{n}") is Split.VAL)
BOLT: dict[str, Any] = {"category": "bolt", "x": 10.0, "y": 10.0, "width": 20.0, "height": 20.0}


def row(place: int, part_id: str = "", **other: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "place": place,
        "source_place": 0,
        "image_id": f"sha-{place}",
        "file_name": f"{place}.png",
        "part_id": part_id or f"P{place}",
        "width": 100,
        "height": 80,
        "annotations": [BOLT],
        "problem": "",
        "notes": [],
        "print": bytes(PRINTS[place]),
    } | other


def like(place: int) -> bytes:
    """Print of another exposure of a picture."""
    return bytes(np.clip(PRINTS[place].astype(int) + 3, 0, 255).astype(np.uint8))


def test_split_follows_the_part() -> None:
    done = place_rows([row(0, TRAIN_PART), row(1, LOCKED_PART), row(2, VAL_PART)], ["auto"])
    assert done.splits == {0: Split.TRAIN, 1: Split.LOCKED, 2: Split.VAL}


def test_near_duplicates_stay_and_share_the_split_of_the_first() -> None:
    rows = [row(0, LOCKED_PART), row(1, TRAIN_PART, print=like(0)), row(2, TRAIN_PART)]
    done = place_rows(rows, ["auto"])
    # The third is no near-duplicate itself: it follows its part.
    assert set(done.splits.values()) == {Split.LOCKED}
    assert [(note.item, note.other) for note in done.notes] == [("1.png", "0.png")]
    assert not done.pictures


def test_near_duplicates_with_other_labels_are_named() -> None:
    moved = [BOLT | {"x": 60.0}]
    rows = [row(0), row(1, print=like(0), annotations=moved), row(2, print=like(0))]
    reasons = [(note.item, note.reason) for note in place_rows(rows, ["auto"]).notes]
    assert ("1.png", "near-duplicate with other labels") in reasons
    assert ("2.png", "near-duplicate with other labels") not in reasons


def test_half_the_size_with_half_the_boxes_is_the_same_label() -> None:
    half = {name: value / 2 for name, value in BOLT.items() if name != "category"}
    small: dict[str, Any] = {
        "annotations": [BOLT | half],
        "width": 50,
        "height": 40,
        "print": like(0),
    }
    reasons = [note.reason for note in place_rows([row(0), row(1, **small)], ["auto"]).notes]
    assert reasons == ["near-duplicate, kept in the same split"]


@pytest.mark.parametrize(
    ("annotations", "reason"),
    [
        pytest.param([BOLT], "duplicate picture", id="the same labels"),
        pytest.param([], "duplicate picture with other labels", id="other labels"),
    ],
)
def test_picture_that_is_there_already_is_left_out(
    annotations: list[dict[str, Any]], reason: str
) -> None:
    rows = [row(0), row(1, image_id="sha-0", annotations=annotations)]
    done = place_rows(rows, ["auto"])
    assert list(done.splits) == [0]
    (refusal,) = done.pictures
    assert (refusal.item, refusal.reason, refusal.other) == ("1.png", reason, "0.png")


def test_given_splits_hold_and_what_they_leak_is_told() -> None:
    rows = [row(0, "A"), row(1, "B", source_place=1, print=like(0)), row(2, "A", source_place=1)]
    done = place_rows(rows, ["train", "val"])
    assert done.splits == {0: Split.TRAIN, 1: Split.VAL, 2: Split.VAL}
    assert {(note.item, note.reason) for note in done.notes} == {
        ("1.png", "near-duplicate in another split, as --split says"),
        ("2.png", "part in two splits, as --split says"),
    }


def test_file_without_a_split_follows_the_one_that_has_one() -> None:
    rows = [row(0, LOCKED_PART), row(1, "B", source_place=1, print=like(0))]
    done = place_rows(rows, ["auto", "train"])
    assert set(done.splits.values()) == {Split.TRAIN}


def test_fixture_that_makes_all_pictures_alike_does_not_end_in_one_split() -> None:
    count = 2 * MIN_GROUP_LIMIT
    done = place_rows([row(place, print=like(0)) for place in range(count)], ["auto"])
    assert set(done.splits.values()) == set(Split)
    (note,) = done.notes
    assert note.item == f"{count} pictures"


def test_faults_go_to_the_list_that_they_belong_to() -> None:
    rows = [
        row(0, problem="broken picture"),
        row(1, notes=["box: no area", "jpeg under another extension"]),
    ]
    done = place_rows(rows, ["auto"])
    assert [refusal.reason for refusal in done.pictures] == ["broken picture"]
    assert [refusal.reason for refusal in done.labels] == ["box: no area"]
    assert [refusal.reason for refusal in done.notes] == ["jpeg under another extension"]

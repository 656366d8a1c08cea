"""Which checked pictures stay in a snapshot, and in which split: pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.contract.snapshot import Split, split_of
from models.detector.boxes import corners_of, iou_matrix
from models.detector.near_duplicates import groups, near_pairs
from models.training.dataset_formats import Refusal

AUTO_SPLIT = "auto"
# Where a camera sees the same fixture all day, everything is like everything; one split for all of
# it would leave nothing to judge on.
MAX_GROUP_RATIO = 0.2
MIN_GROUP_LIMIT = 50
SAME_BOX_IOU = 0.5

DUPLICATE = "duplicate picture"
DUPLICATE_OTHER_LABELS = "duplicate picture with other labels"
NEAR_DUPLICATE = "near-duplicate, kept in the same split"
NEAR_OTHER_LABELS = "near-duplicate with other labels"
NEAR_OTHER_SPLIT = "near-duplicate in another split, as --split says"
ALL_ALIKE = "alike throughout, so split by part alone"
PART_IN_SPLITS = "part in two splits, as --split says"

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Placement:
    """What became of every picture.

    Attributes:
        splits: of the pictures that stay, by the row's place.
        pictures: left out.
        labels: boxes and labels that were left out.
        notes: what stays and deserves a look.
    """

    splits: dict[int, Split] = field(default_factory=dict)
    pictures: list[Refusal] = field(default_factory=list)
    labels: list[Refusal] = field(default_factory=list)
    notes: list[Refusal] = field(default_factory=list)


def place_rows(index: Iterable[Row], wanted_splits: Sequence[str]) -> Placement:
    """Decide which checked pictures stay and into which split each goes.

    A picture that is in the list before, byte for byte, is left out. A near-duplicate stays, in the
    split of what it is like: in another one a model would be judged on what it has seen.

    Args:
        index: checked rows without pixels, in the order of the label files.
        wanted_splits: the split that each label file was given, or ``auto``.
    """
    done = Placement()
    kept = _without_duplicates(index, done)
    alike = _alike(kept, done)
    splits = _splits(kept, alike, wanted_splits)
    done.splits.update((row["place"], split) for row, split in zip(kept, splits, strict=True))
    _note_alike(kept, splits, alike, done)
    _note_divided_parts(kept, splits, done)
    return done


def same_labels(row: Row, other: Row) -> bool:
    """Whether two pictures of a scene have the same boxes, whatever their size in pixels."""
    if Counter(_names(row)) != Counter(_names(other)):
        return False
    overlap = iou_matrix(_relative(row), _relative(other))
    same = np.array([[a == b for b in _names(other)] for a in _names(row)], bool)
    matched = (overlap >= SAME_BOX_IOU) & same.reshape(overlap.shape)
    return bool(matched.any(axis=1).all() and matched.any(axis=0).all())


def _without_duplicates(index: Iterable[Row], done: Placement) -> list[Row]:
    kept: dict[str, Row] = {}
    for row in index:
        name = row["file_name"]
        for note in row["notes"] or ():
            into = done.labels if note.startswith("box: ") else done.notes
            into.append(Refusal(name, note))
        first = kept.get(row["image_id"])
        if row["problem"]:
            done.pictures.append(Refusal(name, row["problem"]))
        elif first is None:
            kept[row["image_id"]] = row
        else:
            reason = DUPLICATE if same_labels(row, first) else DUPLICATE_OTHER_LABELS
            done.pictures.append(Refusal(name, reason, first["file_name"]))
    return list(kept.values())


def _alike(kept: Sequence[Row], done: Placement) -> list[list[int]]:
    """Groups of near-duplicates, without those that hold half of everything."""
    limit = max(MIN_GROUP_LIMIT, round(len(kept) * MAX_GROUP_RATIO))
    found = groups(len(kept), near_pairs([row["print"] for row in kept]))
    for group in found:
        if len(group) > limit:
            first = kept[group[0]]["file_name"]
            done.notes.append(Refusal(f"{len(group)} pictures", ALL_ALIKE, first))
    return [group for group in found if len(group) <= limit]


def _splits(
    kept: Sequence[Row], alike: Sequence[Sequence[int]], wanted_splits: Sequence[str]
) -> list[Split]:
    parts = list(dict.fromkeys(row["part_id"] for row in kept))
    numbers = {part: number for number, part in enumerate(parts)}
    own = [numbers[row["part_id"]] for row in kept]
    links = np.array([(own[a], own[b]) for group in alike for a, b in zip(group, group[1:])])  # noqa: B905, RUF007 - pairs of neighbours
    leaders = list(range(len(parts)))
    for members in groups(len(parts), links.reshape(-1, 2)):
        for member in members:
            leaders[member] = members[0]
    given = [wanted_splits[row["source_place"]] for row in kept]
    # A file that was given a split decides for the pictures like its own in a file that was not.
    of_leader: dict[int, Split] = {}
    for part, split in zip(own, given, strict=True):
        if split != AUTO_SPLIT:
            of_leader.setdefault(leaders[part], Split(split))
    return [
        of_leader.get(leaders[part], split_of(parts[leaders[part]]))
        if split == AUTO_SPLIT
        else Split(split)
        for part, split in zip(own, given, strict=True)
    ]


def _note_alike(
    kept: Sequence[Row], splits: Sequence[Split], alike: Sequence[Sequence[int]], done: Placement
) -> None:
    for first, *others in alike:
        for place in others:
            name, other = kept[place]["file_name"], kept[first]["file_name"]
            same_split = splits[place] is splits[first]
            reason = NEAR_DUPLICATE if same_split else NEAR_OTHER_SPLIT
            done.notes.append(Refusal(name, reason, other))
            if not same_labels(kept[place], kept[first]):
                done.notes.append(Refusal(name, NEAR_OTHER_LABELS, other))


def _note_divided_parts(kept: Sequence[Row], splits: Sequence[Split], done: Placement) -> None:
    first: dict[str, int] = {}
    for place, row in enumerate(kept):
        before = first.setdefault(row["part_id"], place)
        if splits[before] is not splits[place]:
            name, other = row["file_name"], kept[before]["file_name"]
            done.notes.append(Refusal(name, PART_IN_SPLITS, other))


def _names(row: Row) -> list[str]:
    return [box["category"] for box in row["annotations"] or ()]


def _relative(row: Row) -> Any:  # noqa: ANN401 - an array
    boxes = row["annotations"] or ()
    corners = corners_of(
        np.array([[box["x"], box["y"], box["width"], box["height"]] for box in boxes])
    )
    return corners / np.array([row["width"], row["height"]] * 2, np.float32)

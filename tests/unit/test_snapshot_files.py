"""Making a snapshot out of its parent and new labels."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cloud.snapshot_files import (
    SCHEMA,
    KnownRow,
    LabelledPicture,
    plan_changes,
    read_manifest,
    read_rows,
    write_snapshot,
)
from models.contract.bundle import Category, CategoryKind
from models.contract.model import ContractError
from models.contract.snapshot import Box, Split, snapshot_id_of, split_of

NOW = datetime(2026, 3, 2, tzinfo=UTC)
BOLT = Category(name="bolt", kind=CategoryKind.OBJECT)
TORN = Category(name="torn_label")


def content(image_id: str) -> bytes:
    return b"picture " + image_id.encode()


def picture(number: int, *boxes: Box, part_id: str | None = None) -> LabelledPicture:
    image_id = hashlib.sha256(str(number).encode()).hexdigest()
    name = part_id or f"P{number}"
    return LabelledPicture(image_id, f"{name}.png", name, "s/a/l1/c1", 64, 48, boxes)


def parts_of(split: Split) -> list[int]:
    return [number for number in range(40) if split_of(f"P{number}") is split]


BASE = [picture(number, ("bolt", 1.0, 2.0, 10.25, 12.0)) for number in range(40)]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A snapshot of 40 pictures, made out of an empty one."""
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "manifest.json").write_text(
        f'{{"snapshot_id": "{"0" * 16}", "created_at": "2026-01-01T00:00:00Z",'
        ' "categories": [{"name": "bolt", "kind": "object"}], "splits": {}}'
    )
    write(tmp_path / "base", empty, BASE)
    return tmp_path / "base"


def write(url: Path, parent: Path, labelled: list[LabelledPicture], *rejected: str) -> str:
    changes = plan_changes(read_rows(str(parent)), labelled, rejected)
    manifest = write_snapshot(
        str(url),
        parent_url=str(parent),
        changes=changes,
        read_image=content,
        categories=[BOLT, TORN],
        created_at=NOW,
    )
    return manifest.snapshot_id


def test_rows_come_back_as_they_were_written(base: Path) -> None:
    rows = {row.image_id: row for row in read_rows(str(base))}
    assert len(rows) == 40
    assert {row.boxes for row in rows.values()} == {(("bolt", 1.0, 2.0, 10.25, 12.0),)}
    for file in base.rglob("*.parquet"):
        table = pq.read_table(file, partitioning=None)
        assert table.schema.equals(SCHEMA)
        for row in table.to_pylist():
            assert row["image"] == content(row["image_id"])


def test_split_sticks_to_the_part_in_every_snapshot(base: Path) -> None:
    for row in read_rows(str(base)):
        assert row.split is split_of(row.part_id)


def test_a_part_that_an_import_placed_by_hand_keeps_its_split() -> None:
    part = next(name for name in map("P{}".format, range(99)) if split_of(name) is Split.TRAIN)
    parent = [KnownRow("aa", part, Split.LOCKED, "data/split=locked/x.parquet", ())]
    changes = plan_changes(parent, [picture(1, part_id=part)], [])
    assert [split for split, _ in changes.added] == [Split.LOCKED]


def test_the_same_labels_give_the_same_snapshot_id(base: Path, tmp_path: Path) -> None:
    more = [picture(100, ("torn_label", 1, 1, 5, 5)), picture(101)]
    first = write(tmp_path / "a", base, more)
    assert write(tmp_path / "b", base, more[::-1]) == first
    assert plan_changes(read_rows(str(tmp_path / "a")), more, []).snapshot_id == first
    assert first != read_manifest(str(base)).snapshot_id


def test_parent_files_are_shared_and_only_new_pictures_are_written(
    base: Path, tmp_path: Path
) -> None:
    before = {file.name: file.stat().st_ino for file in base.rglob("*.parquet")}
    write(tmp_path / "next", base, [*BASE, picture(100, ("torn_label", 1, 1, 5, 5))])
    after = {file.name: file.stat().st_ino for file in (tmp_path / "next").rglob("*.parquet")}
    assert before.items() <= after.items()
    assert len(after) == len(before) + 1


def test_a_corrected_label_replaces_its_row_and_rewrites_one_file(
    base: Path, tmp_path: Path
) -> None:
    number = parts_of(Split.TRAIN)[0]
    corrected = picture(number, ("bolt", 3, 3, 9, 9), ("torn_label", 1, 1, 5, 5))
    write(tmp_path / "next", base, [corrected])
    rows = read_rows(str(tmp_path / "next"))
    assert len(rows) == 40
    (row,) = (row for row in rows if row.image_id == corrected.image_id)
    assert row.boxes == corrected.boxes
    assert row.split is Split.TRAIN
    inodes = {file.stat().st_ino for file in base.rglob("*.parquet")}
    shared = [f for f in (tmp_path / "next").rglob("*.parquet") if f.stat().st_ino in inodes]
    assert {file.parent.name for file in shared} == {"split=val", "split=locked"}


def test_a_rejected_picture_leaves_the_data_set(base: Path, tmp_path: Path) -> None:
    gone = picture(7).image_id
    write(tmp_path / "next", base, [], gone)
    assert gone not in {row.image_id for row in read_rows(str(tmp_path / "next"))}
    assert sum(s.num_images for s in read_manifest(str(tmp_path / "next")).splits.values()) == 39


def test_manifest_counts_and_names_the_categories_in_use(base: Path, tmp_path: Path) -> None:
    number = 100
    split = split_of(f"P{number}")
    write(tmp_path / "next", base, [picture(number, ("torn_label", 1, 1, 5, 5))])
    manifest = read_manifest(str(tmp_path / "next"))
    assert manifest.categories == (BOLT, TORN)
    assert read_manifest(str(base)).categories == (BOLT,)
    assert manifest.parent_snapshot_id == read_manifest(str(base)).snapshot_id
    assert manifest.splits[split].boxes_per_category["torn_label"] == 1
    assert manifest.splits[split].num_images == len(parts_of(split)) + 1


def test_what_a_killed_build_left_behind_is_replaced(base: Path, tmp_path: Path) -> None:
    half = tmp_path / "next" / "data" / "split=train"
    half.mkdir(parents=True)
    (half / "part-half.parquet").write_bytes(b"PAR1")
    write(tmp_path / "next", base, [picture(100)])
    assert len(read_rows(str(tmp_path / "next"))) == 41


def test_a_missing_snapshot_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no snapshot at"):
        read_manifest(str(tmp_path / "nowhere"))


def test_identity_does_not_depend_on_the_order_of_rows_or_boxes() -> None:
    one, two = ("a", 1.0, 2.0, 3.0, 4.0), ("b", 1.0, 2.0, 3.0, 4.0)
    first = snapshot_id_of([("x", Split.TRAIN, [one, two]), ("y", Split.VAL, [])])
    assert snapshot_id_of([("y", Split.VAL, []), ("x", Split.TRAIN, [two, one])]) == first
    assert snapshot_id_of([("y", Split.VAL, []), ("x", Split.VAL, [two, one])]) != first

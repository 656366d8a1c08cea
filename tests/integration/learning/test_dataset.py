"""Snapshots out of labels in a real database."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cloud.dataset import Datasets
from cloud.db.tables import ReviewStatus
from cloud.errors import ConflictError, InvalidError
from cloud.labeling import Labeling
from cloud.review_items import LabelledBox
from cloud.snapshot_files import read_rows

TORN = LabelledBox("torn_label", (10.0, 10.0, 20.0, 15.0))


@pytest.fixture
def label(labeling: Labeling, add_image: Callable[..., str]) -> Callable[..., str]:
    def save(number: int, *boxes: LabelledBox) -> str:
        sha256: str = add_image(number, "novelty")
        labeling.save(sha256, decision=ReviewStatus.LABELLED, boxes=boxes, reviewer="anna")
        return sha256

    return save


def test_a_snapshot_joins_its_parent_and_the_new_labels(
    datasets: Datasets, base_snapshot: Path, label: Callable[..., str]
) -> None:
    base = datasets.register(str(base_snapshot), actor="anna")
    label(0, TORN)
    label(1)
    assert datasets.new_labels().num_images == 2
    assert datasets.new_labels().boxes_per_category == {"torn_label": 1}
    built = datasets.build(actor="anna")
    assert built.parent == base.snapshot_id
    assert [category["name"] for category in built.manifest["categories"]] == [
        "bolt",
        "torn_label",
    ]
    rows = read_rows(built.url)
    assert {row.part_id for row in rows} == {"P0", "P1"}
    assert datasets.new_labels(already_used={built.snapshot_id}).num_images == 0
    assert datasets.newest() == built or datasets.get(built.snapshot_id).url == built.url


def test_building_twice_without_news_gives_the_same_snapshot(
    datasets: Datasets, base_snapshot: Path, label: Callable[..., str]
) -> None:
    base = datasets.register(str(base_snapshot), actor="anna")
    assert datasets.build(actor="anna").snapshot_id == base.snapshot_id
    label(0, TORN)
    first = datasets.build(actor="anna")
    assert datasets.build(actor="anna").snapshot_id == first.snapshot_id
    assert len(datasets.recent(limit=9)) == 2


def test_a_correction_counts_as_new_and_replaces_the_row(
    datasets: Datasets, base_snapshot: Path, label: Callable[..., str], labeling: Labeling
) -> None:
    datasets.register(str(base_snapshot), actor="anna")
    sha256 = label(0, TORN)
    first = datasets.build(actor="anna")
    moved = LabelledBox("torn_label", (1.0, 1.0, 5.0, 5.0))
    labeling.save(sha256, decision=ReviewStatus.LABELLED, boxes=[moved], reviewer="ben")
    assert datasets.new_labels(already_used={first.snapshot_id}).num_images == 1
    second = datasets.build(actor="anna")
    (row,) = read_rows(second.url)
    assert row.boxes == (("torn_label", 1.0, 1.0, 5.0, 5.0),)
    labeling.save(sha256, decision=ReviewStatus.REJECTED, boxes=[], reviewer="ben")
    assert read_rows(datasets.build(actor="anna").url) == []


def test_registering_teaches_the_categories_and_is_harmless_twice(
    datasets: Datasets, base_snapshot: Path, labeling: Labeling
) -> None:
    first = datasets.register(str(base_snapshot), actor="anna")
    assert datasets.register(str(base_snapshot), actor="anna").snapshot_id == first.snapshot_id
    assert labeling.categories()[0].name == "bolt"


def test_faults_are_told_in_one_line(datasets: Datasets, tmp_path: Path) -> None:
    with pytest.raises(ConflictError, match="no snapshot to start from"):
        datasets.build(actor="anna")
    with pytest.raises(InvalidError, match="no snapshot at"):
        datasets.register(str(tmp_path / "nowhere"), actor="anna")

"""The review queue over a real database."""

from collections.abc import Callable

import pytest

from cloud.audit import list_entries
from cloud.db.session import Database
from cloud.db.tables import ReviewStatus
from cloud.errors import ConflictError, InvalidError, NotFoundError
from cloud.labeling import Labeling
from cloud.review_items import LabelledBox, QueueKey
from cloud.review_value import value_of
from models.contract.bundle import CategoryKind

TORN = LabelledBox("torn_label", (10.0, 10.0, 20.0, 15.0))


def test_queue_brings_known_errors_first_and_audits_last(
    labeling: Labeling, add_image: Callable[..., str]
) -> None:
    audit = add_image(0, "audit")
    novel = add_image(1, "novelty")
    weak = add_image(2, "weak_expected", "audit")
    wrong = add_image(3, "uncertain", "contradiction")
    rejected = add_image(4, "reject")
    plain = add_image(5)
    queue = [item.image.sha256 for item in labeling.queue(limit=10)]
    assert queue == [wrong, novel, weak, rejected, audit, plain]


def test_queue_goes_on_after_a_page_while_it_shrinks(
    labeling: Labeling, add_image: Callable[..., str]
) -> None:
    for number in range(6):
        add_image(number, "uncertain" if number % 2 else "audit")
    first = labeling.queue(limit=2)
    last = first[-1].image
    labeling.save(first[0].image.sha256, decision=ReviewStatus.REJECTED, boxes=[], reviewer="anna")
    after = QueueKey(value_of(last.hard_reasons), last.created_at, last.sha256)
    rest = labeling.queue(limit=10, after=after)
    assert [item.image.part_id for item in rest] == ["P5", "P0", "P2", "P4"]


def test_queue_filters_by_reason_and_cell(
    labeling: Labeling, add_image: Callable[..., str]
) -> None:
    add_image(0, "audit")
    here = add_image(1, "novelty", cell="plant/area/line2/cell2")
    assert [i.image.sha256 for i in labeling.queue(limit=9, reason="novelty")] == [here]
    assert [i.image.sha256 for i in labeling.queue(limit=9, cell="plant/area/line2/cell2")] == [
        here
    ]


def test_the_models_boxes_are_offered_from_a_useful_score_on(
    labeling: Labeling, add_image: Callable[..., str]
) -> None:
    found = ({"category": "bolt", "score": 0.3, "bbox": [1, 2, 3, 4]},)
    unsure = ({"category": "bolt", "score": 0.29, "bbox": [5, 6, 7, 8]},)
    item = labeling.item(add_image(0, "audit", detections=found + unsure))
    assert [(box.bbox, box.score) for box in item.proposals] == [((1, 2, 3, 4), 0.3)]


def test_each_change_is_a_revision_and_the_newest_is_in_force(
    labeling: Labeling, add_image: Callable[..., str], database: Database
) -> None:
    sha256 = add_image(0, "novelty")
    saved = labeling.save(
        sha256, decision=ReviewStatus.LABELLED, boxes=[TORN], reviewer="anna", revision=0
    )
    assert saved.annotations == (TORN,)
    assert (saved.image.revision, saved.image.status) == (1, ReviewStatus.LABELLED)
    labeling.save(sha256, decision=ReviewStatus.REJECTED, boxes=[], reviewer="ben", revision=1)
    assert [row.reviewer for row in labeling.history(sha256)] == ["ben", "anna"]
    assert {name: count for name, count in labeling.counts().items() if count} == {"rejected": 1}
    actions = [entry.action for entry in list_entries(database, limit=9, subject=sha256)]
    assert actions == ["reject image", "label image"]


def test_two_reviewers_of_one_picture_do_not_overwrite_each_other(
    labeling: Labeling, add_image: Callable[..., str]
) -> None:
    sha256 = add_image(0, "novelty")
    labeling.save(sha256, decision=ReviewStatus.LABELLED, boxes=[], reviewer="anna", revision=0)
    with pytest.raises(ConflictError, match="anna saved revision 1 meanwhile"):
        labeling.save(sha256, decision=ReviewStatus.REJECTED, boxes=[], reviewer="ben", revision=0)


def test_undo_brings_back_what_was_said_before(
    labeling: Labeling, add_image: Callable[..., str]
) -> None:
    sha256 = add_image(0, "novelty")
    labeling.save(sha256, decision=ReviewStatus.LABELLED, boxes=[TORN], reviewer="anna")
    labeling.save(sha256, decision=ReviewStatus.REJECTED, boxes=[], reviewer="anna")
    undone = labeling.undo(sha256, reviewer="anna")
    assert undone.annotations == (TORN,)
    assert undone.image.revision == 3
    fresh = add_image(1, "novelty")
    labeling.save(fresh, decision=ReviewStatus.LABELLED, boxes=[TORN], reviewer="anna")
    assert labeling.undo(fresh, reviewer="anna").image.status is ReviewStatus.PENDING
    with pytest.raises(ConflictError, match="nothing to undo"):
        labeling.undo(add_image(2), reviewer="anna")


@pytest.mark.parametrize(
    ("bbox", "kept"),
    [
        pytest.param((-5, -5, 20, 20), (0, 0, 15, 15), id="cut at the corner"),
        pytest.param((60, 40, 99, 99), (60, 40, 4, 8), id="cut at the far side"),
        pytest.param((1.005, 2.0, 3.333333, 4), (1.0, 2.0, 3.33, 4.0), id="hundredths"),
        pytest.param((10, 10, 0.5, 5), None, id="too thin"),
        pytest.param((70, 10, 5, 5), None, id="outside"),
        pytest.param((10, 10, -5, 5), None, id="turned inside out"),
        pytest.param((float("nan"), 1, 5, 5), None, id="not a number"),
    ],
)
def test_boxes_are_cut_to_the_picture(
    labeling: Labeling,
    add_image: Callable[..., str],
    bbox: tuple[float, float, float, float],
    kept: tuple[float, float, float, float] | None,
) -> None:
    sha256 = add_image(0, "novelty")
    boxes = [LabelledBox("bolt", bbox)]
    if kept is None:
        with pytest.raises(InvalidError, match="not inside the picture"):
            labeling.save(sha256, decision=ReviewStatus.LABELLED, boxes=boxes, reviewer="anna")
        return
    saved = labeling.save(sha256, decision=ReviewStatus.LABELLED, boxes=boxes, reviewer="anna")
    assert saved.annotations[0].bbox == kept


def test_a_category_must_be_added_before_it_is_drawn(
    labeling: Labeling, add_image: Callable[..., str]
) -> None:
    sha256 = add_image(0, "novelty")
    boxes = [LabelledBox("wrong_screw", (1, 1, 9, 9))]
    with pytest.raises(InvalidError, match="unknown category 'wrong_screw'"):
        labeling.save(sha256, decision=ReviewStatus.LABELLED, boxes=boxes, reviewer="anna")
    labeling.add_category("wrong_screw", CategoryKind.DEFECT, actor="anna")
    labeling.save(sha256, decision=ReviewStatus.LABELLED, boxes=boxes, reviewer="anna")
    names = [category.name for category in labeling.categories()]
    assert names == ["bolt", "torn_label", "wrong_screw"]
    with pytest.raises(ConflictError, match="kind of defect"):
        labeling.add_category("wrong_screw", CategoryKind.OBJECT, actor="anna")


def test_an_unknown_picture_is_told(labeling: Labeling) -> None:
    with pytest.raises(NotFoundError):
        labeling.item("0" * 64)

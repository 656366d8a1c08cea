"""Two people look: what counts, what waits, who decides, and how far they agree."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from cloud.agreement import SecondReview
from cloud.dataset import Datasets
from cloud.db.session import Database
from cloud.db.tables import ReviewStatus
from cloud.errors import NotAllowedError
from cloud.labeling import Labeling
from cloud.near_duplicates import NewPicture, keep_likenesses
from cloud.review_items import LabelledBox

LABELLED, REJECTED = ReviewStatus.LABELLED, ReviewStatus.REJECTED
TORN = LabelledBox("torn_label", (10.0, 10.0, 20.0, 15.0))
NEAR = LabelledBox("torn_label", (11.0, 10.0, 20.0, 15.0))
BOLT = LabelledBox("bolt", (40.0, 30.0, 10.0, 10.0))
AddImage = Callable[..., str]


@pytest.fixture
def strict(labeling: Labeling, database: Database) -> Labeling:
    """Torn labels need a second look; ``labeling`` has added the categories."""
    del labeling
    return Labeling(database, policy=SecondReview(categories=frozenset({"torn_label"})))


def status_of(labeling: Labeling, sha256: str) -> ReviewStatus:
    return labeling.item(sha256).image.status


def test_a_label_of_the_policy_counts_only_once_somebody_else_agrees(
    strict: Labeling, add_image: AddImage, datasets: Datasets
) -> None:
    sha256 = add_image(0, "novelty")
    strict.save(sha256, decision=LABELLED, boxes=[TORN, BOLT], reviewer="anna")
    assert status_of(strict, sha256) is ReviewStatus.SECOND_LOOK
    assert datasets.new_labels().num_images == 0, "one look is not enough"
    strict.save(sha256, decision=LABELLED, boxes=[BOLT, NEAR], reviewer="ben")
    assert status_of(strict, sha256) is LABELLED
    assert datasets.new_labels().boxes_per_category == {"bolt": 1, "torn_label": 1}
    figures = strict.agreement().overall
    assert (figures.num_pictures, figures.num_agreed, figures.kappa) == (1, 1, 1.0)
    assert figures.mean_iou == pytest.approx((1 + 19 / 21) / 2, abs=1e-3)


def test_a_label_outside_the_policy_counts_at_once(strict: Labeling, add_image: AddImage) -> None:
    sha256 = add_image(0, "novelty")
    strict.save(sha256, decision=LABELLED, boxes=[BOLT], reviewer="anna")
    assert status_of(strict, sha256) is LABELLED


def test_nobody_gives_the_own_label_a_second_look(strict: Labeling, add_image: AddImage) -> None:
    sha256 = add_image(0, "novelty")
    for boxes in ([TORN], [TORN, BOLT]):
        strict.save(sha256, decision=LABELLED, boxes=boxes, reviewer="anna")
        assert status_of(strict, sha256) is ReviewStatus.SECOND_LOOK
    assert strict.agreement().overall.num_pictures == 0


@pytest.mark.parametrize(
    ("decision", "boxes"),
    [
        pytest.param(LABELLED, [], id="sees nothing"),
        pytest.param(LABELLED, [LabelledBox("bolt", TORN.bbox)], id="calls it something else"),
        pytest.param(REJECTED, [], id="rejects the picture"),
    ],
)
def test_a_disagreement_goes_to_an_arbiter_who_is_neither_of_the_two(
    strict: Labeling,
    add_image: AddImage,
    datasets: Datasets,
    decision: ReviewStatus,
    boxes: list[LabelledBox],
) -> None:
    sha256 = add_image(0, "novelty")
    strict.save(sha256, decision=LABELLED, boxes=[TORN], reviewer="anna")
    strict.save(sha256, decision=decision, boxes=boxes, reviewer="ben")
    item = strict.item(sha256)
    assert item.image.status is ReviewStatus.DISPUTED
    assert [(o.reviewer, o.decision) for o in item.opinions] == [
        ("anna", LABELLED),
        ("ben", decision),
    ]
    assert item.opinions[0].boxes == (TORN,)
    assert datasets.new_labels().num_images == 0
    with pytest.raises(NotAllowedError, match="an ML engineer decides"):
        strict.save(sha256, decision=LABELLED, boxes=[TORN], reviewer="carl")
    with pytest.raises(NotAllowedError, match="one of the two"):
        strict.save(sha256, decision=LABELLED, boxes=[TORN], reviewer="ben", may_arbitrate=True)
    strict.save(sha256, decision=LABELLED, boxes=[TORN], reviewer="mara", may_arbitrate=True)
    assert status_of(strict, sha256) is LABELLED
    assert strict.item(sha256).opinions == ()


def test_taking_a_second_look_back_leaves_the_first_to_be_looked_at_again(
    strict: Labeling, add_image: AddImage
) -> None:
    sha256 = add_image(0, "novelty")
    strict.save(sha256, decision=LABELLED, boxes=[TORN], reviewer="anna")
    strict.save(sha256, decision=REJECTED, boxes=[], reviewer="ben")
    undone = strict.undo(sha256, reviewer="ben")
    assert (undone.image.status, undone.image.reviewer) == (ReviewStatus.SECOND_LOOK, "anna")
    assert strict.agreement().overall.num_pictures == 0
    strict.save(sha256, decision=LABELLED, boxes=[TORN], reviewer="ben")
    assert status_of(strict, sha256) is LABELLED


def test_rejections_are_looked_at_twice_where_the_share_says_so(
    labeling: Labeling, database: Database, add_image: AddImage
) -> None:
    everything = Labeling(database, policy=SecondReview(share=1.0))
    sha256 = add_image(0, "novelty")
    everything.save(sha256, decision=REJECTED, boxes=[], reviewer="anna")
    assert status_of(labeling, sha256) is ReviewStatus.SECOND_LOOK
    everything.save(sha256, decision=REJECTED, boxes=[], reviewer="ben")
    assert status_of(labeling, sha256) is REJECTED


def test_kappa_is_told_for_each_pair_of_people_and_each_category(
    strict: Labeling, add_image: AddImage
) -> None:
    for number, (second, boxes) in enumerate(
        [("ben", [TORN, BOLT]), ("ben", [BOLT]), ("carl", [TORN, BOLT]), ("carl", [TORN])]
    ):
        sha256 = add_image(number, "novelty")
        strict.save(sha256, decision=LABELLED, boxes=[TORN, BOLT], reviewer="anna")
        strict.save(sha256, decision=LABELLED, boxes=boxes, reviewer=second)
    report = strict.agreement()
    assert set(report.by_reviewers) == {("anna", "ben"), ("anna", "carl")}
    assert report.by_reviewers["anna", "ben"].num_agreed == 1
    rows = {row.category: (row.num_both, row.num_either) for row in report.by_category}
    assert rows == {"bolt": (3, 4), "torn_label": (3, 4)}
    # 6 of 8 agree; by chance: anna 4/8 each word, others 3/8, 3/8 and nothing 2/8.
    assert report.overall.kappa == pytest.approx((6 / 8 - 3 / 8) / (1 - 3 / 8))


# --- pictures that look alike ---------------------------------------------------------------


@pytest.fixture
def alike(database: Database, add_image: AddImage, labeling: Labeling) -> list[str]:
    """Four pictures of one view: the first three look alike."""
    prints = [bytes([level]) * 1024 for level in (100, 104, 110, 180)]
    shas = [add_image(number, "novelty") for number in range(4)]
    with database.write() as session:
        for sha256, seen in zip(shas, prints, strict=True):
            image = labeling.item(sha256).image
            keep_likenesses(
                session, [NewPicture(sha256, image.cell, image.view, image.created_at, seen)]
            )
    return shas


def test_one_label_is_offered_to_the_pictures_that_look_alike(
    labeling: Labeling, alike: list[str]
) -> None:
    assert [labeling.item(sha256).num_alike for sha256 in alike] == [2, 2, 2, 0]
    labeling.save(alike[0], decision=LABELLED, boxes=[TORN], reviewer="anna")
    assert [item.image.sha256 for item in labeling.alike(alike[0])] == alike[1:3]
    saved, refused = labeling.label_alike(alike[0], alike[1:], reviewer="anna")
    assert [item.annotations for item in saved] == [(TORN,), (TORN,)]
    assert list(refused) == [alike[3]]
    assert labeling.counts()["labelled"] == 3
    assert labeling.history(alike[1])[0].reviewer == "anna"


def test_pictures_of_another_day_or_cell_are_no_group(
    database: Database, add_image: AddImage, labeling: Labeling, alike: list[str]
) -> None:
    image = labeling.item(alike[0]).image
    look = bytes([100]) * 1024
    other = add_image(8, "novelty", cell="plant/area/line1/cell9")
    later = add_image(9, "novelty")
    with database.write() as session:
        keep_likenesses(
            session,
            [
                NewPicture(other, "plant/area/line1/cell9", "main", image.created_at, look),
                NewPicture(later, image.cell, "main", image.created_at + timedelta(days=2), look),
            ],
        )
    assert [labeling.item(sha256).num_alike for sha256 in (other, later)] == [0, 0]


def test_looks_of_a_picture_that_arrives_twice_are_kept_once(
    database: Database, labeling: Labeling, alike: list[str]
) -> None:
    image = labeling.item(alike[0]).image
    again = NewPicture(alike[0], image.cell, image.view, image.created_at, bytes(1024))
    with database.write() as session:
        keep_likenesses(session, [again, again])
    assert labeling.item(alike[0]).num_alike == 2

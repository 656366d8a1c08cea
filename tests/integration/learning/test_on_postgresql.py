"""The same services on PostgreSQL, for what its JSON, locks and comparisons do differently."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloud.agreement import SecondReview
from cloud.audit import list_entries
from cloud.dataset import Datasets
from cloud.db.migration import migrate
from cloud.db.session import Database
from cloud.db.tables import ReviewStatus, RolloutState, RunState
from cloud.image_store import ImageStore
from cloud.labeling import Labeling
from cloud.learning import LearningServices
from cloud.near_duplicates import NewPicture, keep_likenesses
from cloud.review_items import LabelledBox, QueueKey
from cloud.review_value import value_of
from cloud.settings import Settings
from cloud.snapshot_files import read_rows


@pytest.fixture
def database(postgresql_url: str) -> Iterator[Database]:
    made = Database(postgresql_url)
    migrate(made)
    yield made
    made.close()


def test_the_queue_is_ordered_paged_and_filtered(
    labeling: Labeling, add_image: Callable[..., str]
) -> None:
    for number, reason in enumerate(("audit", "novelty", "contradiction", "uncertain")):
        add_image(number, reason)
    first = labeling.queue(limit=2)
    assert [item.image.part_id for item in first] == ["P2", "P1"]
    last = first[-1].image
    after = QueueKey(value_of(last.hard_reasons), last.created_at, last.sha256)
    rest = labeling.queue(limit=9, after=after)
    assert [item.image.part_id for item in rest] == ["P3", "P0"]
    assert [i.image.part_id for i in labeling.queue(limit=9, reason="audit")] == ["P0"]


def test_labels_become_a_snapshot(
    labeling: Labeling,
    datasets: Datasets,
    add_image: Callable[..., str],
    base_snapshot: Path,
    database: Database,
) -> None:
    datasets.register(str(base_snapshot), actor="anna")
    sha256 = add_image(0, "novelty")
    box = LabelledBox("torn_label", (1, 1, 9, 9))
    labeling.save(sha256, decision=ReviewStatus.LABELLED, boxes=[box], reviewer="anna")
    labeling.undo(sha256, reviewer="anna")
    labeling.save(sha256, decision=ReviewStatus.LABELLED, boxes=[box], reviewer="anna", revision=2)
    built = datasets.build(actor="anna")
    assert [row.image_id for row in read_rows(built.url)] == [sha256]
    assert datasets.new_labels(already_used={built.snapshot_id}).num_images == 0
    assert list_entries(database, limit=1)[0].action == "build snapshot"


def test_a_second_look_and_pictures_that_look_alike(
    labeling: Labeling, database: Database, add_image: Callable[..., str]
) -> None:
    del labeling  # has added the categories
    twice = Labeling(database, policy=SecondReview(share=1.0))
    first, other = add_image(0, "novelty"), add_image(1, "novelty")
    with database.write() as session:
        for sha256 in (first, other, first):
            image = twice.item(sha256).image
            seen = NewPicture(sha256, image.cell, image.view, image.created_at, bytes(1024))
            keep_likenesses(session, [seen])
    box = LabelledBox("torn_label", (1, 1, 9, 9))
    twice.save(first, decision=ReviewStatus.LABELLED, boxes=[box], reviewer="anna")
    saved, refused = twice.label_alike(first, [other], reviewer="anna")
    assert ([item.image.sha256 for item in saved], refused) == ([other], {})
    twice.save(first, decision=ReviewStatus.LABELLED, boxes=[box], reviewer="ben")
    twice.save(other, decision=ReviewStatus.REJECTED, boxes=[], reviewer="ben")
    assert len(twice.item(other).opinions) == 2
    figures = twice.agreement().overall
    assert (figures.num_pictures, figures.num_agreed) == (2, 1)


@pytest.fixture
def learning(settings: Settings, database: Database, images: ImageStore) -> LearningServices:
    """All services, none of their threads."""
    made = LearningServices(settings, database, images)
    made.repository.ensure()
    return made


def test_a_release_goes_out_and_comes_back(
    learning: LearningServices,
    make_bundle: Callable[..., Path],
    add_cell: Callable[..., str],
    base_snapshot: Path,
) -> None:
    add_cell("c1")
    for number, text in enumerate(("old", "new"), start=1):
        assert learning.registry.add(make_bundle(text), actor="anna").release == number
        learning.registry.approve(number, actor="anna")
        rollout = learning.fleet.start_rollout(number, actor="anna")
        learning._controller.advance()
        add_cell("c1", runs=number, wants=number)
        learning._controller.advance()
        assert learning.fleet.get(rollout.rollout_id).rollout.state is RolloutState.SUCCEEDED
    back = learning.fleet.roll_back(actor="anna")
    assert learning.registry.get(back.release).rollback_of == 1
    learning.datasets.register(str(base_snapshot), actor="anna")
    run = learning.retraining.request(actor="anna")
    assert learning.retraining.cancel(run.run_id, actor="anna").state is RunState.CANCELLED

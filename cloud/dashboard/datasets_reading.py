"""What the Datasets page reads: blocking functions, to be called in a worker thread."""

from sqlalchemy import select

from cloud.api.context import Context
from cloud.api.snapshots import is_wanted
from cloud.dashboard.datasets_view import (
    Json,
    agreement_view,
    colours,
    doubt_view,
    figures_view,
    sample_view,
    snapshot_line,
)
from cloud.db.tables import Cell, Image, TrainingRun
from cloud.errors import CloudError
from cloud.learning import LearningServices
from cloud.lineage import lineage_of
from cloud.snapshot_pictures import figures_of
from models.contract.snapshot import Split

NUM_SNAPSHOTS = 50
MAX_DOUBTS = 24


def read_view(context: Context) -> Json:
    """Read what all browsers share.

    Raises:
        UnavailableError: the database cannot be read.
    """
    learning = context.learning
    snapshots = learning.datasets.recent(limit=NUM_SNAPSHOTS)
    releases = learning.registry.recent(limit=NUM_SNAPSHOTS)
    runs = learning.retraining.recent(limit=NUM_SNAPSHOTS)
    with context.database.read() as session:
        cells = session.scalars(select(Cell).order_by(Cell.cell)).all()
    newest = snapshots[0].snapshot_id if snapshots else ""
    return {
        "snapshots": [snapshot_line(row, newest) for row in snapshots],
        "lineage": lineage_of(snapshots, runs, releases, cells),
        "agreement": agreement_view(learning.labeling.agreement()),
        "new_labels": learning.datasets.new_labels().num_images,
    }


def read_figures(learning: LearningServices, snapshot_id: str) -> Json:
    """Figures of one snapshot.

    Raises:
        CloudError: there is no such snapshot, or its files are gone.
    """
    url = learning.datasets.get(snapshot_id).url
    return figures_view(figures_of(learning.pictures.index(url).values()))


def read_sample(
    learning: LearningServices,
    snapshot_id: str,
    *,
    split: str,
    category: str,
    limit: int,
) -> tuple[list[Json], int]:
    """Pictures of one snapshot with their labels, and how many there are in all.

    Raises:
        CloudError: there is no such snapshot, or its files are gone.
    """
    url = learning.datasets.get(snapshot_id).url
    index = learning.pictures.index(url)
    colour = colours({name for picture in index.values() for name, *_ in picture.boxes})
    wanted = [
        picture
        for picture in index.values()
        if is_wanted(picture, Split(split) if split else None, category or None)
    ]
    return [sample_view(snapshot_id, picture, colour) for picture in wanted[:limit]], len(wanted)


def read_doubts(context: Context, snapshot_id: str) -> list[Json]:
    """Doubtful labels of a snapshot, as the newest run that was judged on it sees them."""
    learning = context.learning
    query = select(TrainingRun.run_id).where(TrainingRun.snapshot_id == snapshot_id)
    with context.database.read() as session:
        run_ids = session.scalars(query.order_by(TrainingRun.created_at.desc()).limit(10)).all()
    for run_id in run_ids:
        try:
            doubts = learning.comparisons.of_run(run_id).doubts[:MAX_DOUBTS]
            index = learning.pictures.index(learning.datasets.get(snapshot_id).url)
        except CloudError:
            continue
        with context.database.read() as session:
            reviewed = set(
                session.scalars(
                    select(Image.sha256).where(
                        Image.sha256.in_([doubt.image_id for doubt in doubts])
                    )
                )
            )
        return [
            doubt_view(
                snapshot_id,
                index[doubt.image_id],
                doubt,
                is_reviewed=doubt.image_id in reviewed,
            )
            for doubt in doubts
            if doubt.image_id in index
        ]
    return []

"""Snapshots in the database: registering an imported one, building the next from labels."""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Row, Select, select, update

from cloud import audit
from cloud.db.session import Database
from cloud.db.tables import Annotation, Image, ReviewStatus, Snapshot
from cloud.errors import ConflictError, InvalidError, NotFoundError
from cloud.label_map import add_categories, read_categories
from cloud.snapshot_files import (
    Changes,
    LabelledPicture,
    ReadImage,
    plain_url,
    plan_changes,
    read_manifest,
    read_rows,
    write_snapshot,
)
from models.contract.bundle import Category
from models.contract.model import ContractError
from models.contract.snapshot import SnapshotManifest

SUFFIXES = {"image/png": "png", "image/jpeg": "jpg"}
MAX_NEW_LABELS = 1_000
"""More new labels are not counted: any policy has had enough of them by then."""


@dataclass(frozen=True, slots=True)
class NewLabels:
    """What people labelled that no training has used."""

    num_images: int
    boxes_per_category: dict[str, int]


class Datasets:
    """Snapshots: immutable, each made out of the newest one and the labels since.

    Args:
        database: Where labels and snapshots are listed.
        read_image: Gives the encoded picture of a SHA-256.
        root_url: Folder or fsspec URL that new snapshots go below.
        now: The wall clock.
    """

    def __init__(
        self,
        database: Database,
        *,
        read_image: ReadImage,
        root_url: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._read_image = read_image
        self._root_url = plain_url(root_url)
        self._now = now
        self._building = threading.Lock()

    def newest(self) -> Snapshot | None:
        """The snapshot that the next one continues."""
        with self._database.read() as session:
            return session.scalars(_newest_first().limit(1)).one_or_none()

    def recent(self, *, limit: int, before: datetime | None = None) -> Sequence[Snapshot]:
        """Newest first."""
        query = _newest_first().limit(limit)
        if before is not None:
            query = query.where(Snapshot.created_at < before)
        with self._database.read() as session:
            return session.scalars(query).all()

    def get(self, snapshot_id: str) -> Snapshot:
        """One snapshot.

        Raises:
            NotFoundError: it is not registered.
        """
        with self._database.read() as session:
            found = session.get(Snapshot, snapshot_id)
        if found is None:
            raise NotFoundError("snapshot", snapshot_id)
        return found

    def register(self, url: str, *, actor: str) -> Snapshot:
        """Take an imported snapshot as the one to continue from.

        Its categories join those that reviewers may draw.

        Raises:
            InvalidError: there is no snapshot at the URL.
        """
        url = plain_url(url)
        try:
            manifest = read_manifest(url)
        except ContractError as error:
            raise InvalidError(str(error)) from error
        return self._insert(url, manifest, parent=None, actor=actor)

    def build(self, *, actor: str) -> Snapshot:
        """Make a snapshot of the newest one and all labels since.

        The same labels give the same snapshot: where nothing changed, the newest is the answer.

        Raises:
            ConflictError: no snapshot is registered to start from.
            InvalidError: the files of the newest one are gone.
        """
        with self._building:
            parent = self.newest()
            if parent is None:
                raise ConflictError(
                    "there is no snapshot to start from: import one with sightline-train import"
                    " and register it (POST /v1/snapshots)"
                )
            try:
                return self._build_from(parent, actor)
            except ContractError as error:
                raise InvalidError(str(error)) from error

    def new_labels(
        self, *, already_used: Collection[str] = (), at_most: int = MAX_NEW_LABELS
    ) -> NewLabels:
        """Count what was labelled and is in none of these snapshots: the newest ``at_most``."""
        newest = (
            select(Image.sha256, Image.revision)
            .where(
                Image.status == ReviewStatus.LABELLED,
                Image.snapshot_id.is_(None) | Image.snapshot_id.not_in(already_used),
            )
            .order_by(Image.created_at.desc())
            .limit(at_most)
            .subquery()
        )
        drawn_boxes = select(Annotation.boxes).join(
            newest,
            (Annotation.image_sha256 == newest.c.sha256)
            & (Annotation.revision == newest.c.revision),
        )
        boxes: Counter[str] = Counter()
        num_images = 0
        with self._database.read() as session:
            for drawn in session.scalars(drawn_boxes):
                num_images += 1
                boxes.update(box["category"] for box in drawn)
        return NewLabels(num_images, dict(boxes))

    def _build_from(self, parent: Snapshot, actor: str) -> Snapshot:
        with self._database.read() as session:
            reviewed = session.execute(_in_force()).all()
            categories = read_categories(session)
        labelled = [
            _picture(image, annotation)
            for image, annotation in reviewed
            if annotation.decision is ReviewStatus.LABELLED
        ]
        rejected = [
            image.sha256
            for image, annotation in reviewed
            if annotation.decision is ReviewStatus.REJECTED
        ]
        changes = plan_changes(read_rows(parent.url), labelled, rejected)
        snapshot_id = changes.snapshot_id
        snapshot = parent if snapshot_id == parent.snapshot_id else self._known(snapshot_id)
        if snapshot is None:
            url = f"{self._root_url}/{snapshot_id}"
            manifest = self._write(url, parent, changes, categories)
            snapshot = self._insert(url, manifest, parent=parent.snapshot_id, actor=actor)
        self._mark(reviewed, snapshot.snapshot_id)
        return snapshot

    def _write(
        self, url: str, parent: Snapshot, changes: Changes, categories: Sequence[Category]
    ) -> SnapshotManifest:
        return write_snapshot(
            url,
            parent_url=parent.url,
            changes=changes,
            read_image=self._read_image,
            categories=categories,
            created_at=self._now(),
        )

    def _known(self, snapshot_id: str) -> Snapshot | None:
        with self._database.read() as session:
            return session.get(Snapshot, snapshot_id)

    def _insert(
        self, url: str, manifest: SnapshotManifest, *, parent: str | None, actor: str
    ) -> Snapshot:
        with self._database.write() as session:
            known = session.get(Snapshot, manifest.snapshot_id)
            if known is not None:
                return known
            snapshot = Snapshot(
                snapshot_id=manifest.snapshot_id,
                url=url,
                parent=parent,
                manifest=manifest.model_dump(mode="json"),
                created_at=self._now(),
                created_by=actor,
            )
            session.add(snapshot)
            add_categories(session, manifest.categories, actor=actor, now=self._now())
            action = "build snapshot" if parent else "register snapshot"
            audit.record(session, actor, action, manifest.snapshot_id, url=url)
            return snapshot

    def _mark(self, reviewed: Sequence[Row[Image, Annotation]], snapshot_id: str) -> None:
        """Note which labels are in a snapshot, unless they were changed while it was built."""
        with self._database.write() as session:
            for image, annotation in reviewed:
                if image.snapshot_id is None:
                    session.execute(
                        update(Image)
                        .where(Image.sha256 == image.sha256, Image.revision == annotation.revision)
                        .values(snapshot_id=snapshot_id)
                    )


def _newest_first() -> Select[Snapshot]:
    return select(Snapshot).order_by(Snapshot.created_at.desc(), Snapshot.snapshot_id)


def _in_force() -> Select[Image, Annotation]:
    """Every picture whose label counts, with the annotation in force.

    One that waits for a second look or for an arbiter does not count, nor one that is to be looked
    at again.
    """
    return (
        select(Image, Annotation)
        .join(
            Annotation,
            (Annotation.image_sha256 == Image.sha256) & (Annotation.revision == Image.revision),
        )
        .where(Image.status.in_((ReviewStatus.LABELLED, ReviewStatus.REJECTED)))
        .order_by(Image.sha256)
    )


def _picture(image: Image, annotation: Annotation) -> LabelledPicture:
    suffix = SUFFIXES.get(image.content_type, "jpg")
    return LabelledPicture(
        image_id=image.sha256,
        file_name=f"{image.part_id}-{image.sha256[:8]}.{suffix}",
        part_id=image.part_id,
        source=image.cell,
        width=image.width_px,
        height=image.height_px,
        boxes=tuple((box["category"], *map(float, box["bbox"])) for box in annotation.boxes),
    )

"""The review queue and what people say about pictures.

Annotations are only ever added: each change is a new revision, the newest is in force, and a
reviewer who worked on an older one is told so. A picture's row carries the revision in force.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime

from sqlalchemy import Select, func, or_, select, tuple_
from sqlalchemy.orm import Session

from cloud import audit
from cloud.agreement import SecondReview
from cloud.db.session import Database
from cloud.db.tables import Annotation, CategoryRow, Image, ReviewStatus
from cloud.errors import CloudError, ConflictError, InvalidError, NotFoundError
from cloud.label_map import add_categories, read_categories
from cloud.near_duplicates import waiting_alike
from cloud.review_items import (
    LabelledBox,
    QueueKey,
    ReviewItem,
    clean_boxes,
    labelled_boxes,
    read_items,
)
from cloud.review_value import has_reason, value_column
from cloud.second_review import (
    AgreementReport,
    Look,
    agreement_report,
    forget_comparison,
    settle,
    status_after_undo,
)
from cloud.tally_store import counted_review
from models.contract.bundle import Category, CategoryKind

MAX_COUNTED = 10_000
"""More pictures of one status are not counted: it would cost more than it tells."""


class Labeling:
    """Review queue, annotations and categories in the database.

    Args:
        database: Holds pictures and annotations.
        policy: Which labels need a second look; none when not given.
        now: The wall clock.
    """

    def __init__(
        self,
        database: Database,
        *,
        policy: SecondReview | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._policy = policy or SecondReview()
        self._now = now

    # --- the queue ---------------------------------------------------------------------------

    def queue(
        self,
        *,
        limit: int,
        status: ReviewStatus | None = ReviewStatus.PENDING,
        reason: str | None = None,
        cell: str | None = None,
        after: QueueKey | None = None,
    ) -> list[ReviewItem]:
        """Pictures by what a look at them is worth, then oldest first."""
        value = value_column()
        query = select(Image).order_by(value, Image.created_at, Image.sha256).limit(limit)
        if status is not None:
            query = query.where(Image.status == status)
        if reason is not None:
            query = query.where(has_reason(reason))
        if cell is not None:
            query = query.where(Image.cell == cell)
        if after is not None:
            query = query.where(
                or_(
                    value > after.value,
                    (value == after.value)
                    & (tuple_(Image.created_at, Image.sha256) > (after.created_at, after.sha256)),
                )
            )
        with self._database.read() as session:
            return read_items(session, session.scalars(query).all())

    def item(self, sha256: str) -> ReviewItem:
        """One picture.

        Raises:
            NotFoundError: it is not known.
        """
        with self._database.read() as session:
            return read_items(session, [_image(session, sha256)])[0]

    def counts(self) -> dict[str, int]:
        """How many pictures there are by review status, of each up to `MAX_COUNTED`."""
        with self._database.read() as session:
            return {str(status): session.scalar(_count(status)) or 0 for status in ReviewStatus}

    def history(self, sha256: str) -> Sequence[Annotation]:
        """Every revision of a picture's label, newest first."""
        query = (
            select(Annotation)
            .where(Annotation.image_sha256 == sha256)
            .order_by(Annotation.revision.desc())
        )
        with self._database.read() as session:
            return session.scalars(query).all()

    # --- saving ------------------------------------------------------------------------------

    def save(
        self,
        sha256: str,
        *,
        decision: ReviewStatus,
        boxes: Iterable[LabelledBox],
        reviewer: str,
        revision: int | None = None,
        may_arbitrate: bool = False,
    ) -> ReviewItem:
        """Say what is in a picture, or that it is of no use.

        Where the policy wants a second look, the label counts once somebody else has said the
        same; where the two disagree, once an arbiter has decided.

        Args:
            sha256: The picture.
            decision: ``labelled`` (no boxes means: nothing is in it) or ``rejected``.
            boxes: What is in it; ignored when it is rejected.
            reviewer: Who says so.
            revision: The revision that the reviewer saw; None takes whatever is there.
            may_arbitrate: Whether this person may decide between two others.

        Raises:
            NotFoundError: the picture is not known.
            ConflictError: somebody else saved since ``revision``.
            NotAllowedError: two others disagree on it, and it is not for this person to decide.
            InvalidError: a box or a category is wrong.
        """
        if decision is ReviewStatus.PENDING:
            raise InvalidError("decision is labelled or rejected")
        with self._database.write() as session:
            image = _image(session, sha256, lock=True)
            if revision is not None and revision != image.revision:
                raise ConflictError(
                    f"{image.reviewer or 'somebody'} saved revision {image.revision} meanwhile:"
                    " load the picture again"
                )
            names = session.scalars(select(CategoryRow.name)).all()
            cleaned = clean_boxes(
                boxes if decision is ReviewStatus.LABELLED else (),
                width_px=image.width_px,
                height_px=image.height_px,
                categories=names,
            )
            look = Look(decision, cleaned, reviewer, may_arbitrate)
            status = settle(session, image, look, self._policy, self._now())
            self._append(session, image, look, status)
            audit.record(
                session,
                reviewer,
                "label image" if decision is ReviewStatus.LABELLED else "reject image",
                sha256,
                revision=image.revision,
                num_boxes=len(cleaned),
            )
            return read_items(session, [image])[0]

    def undo(self, sha256: str, *, reviewer: str) -> ReviewItem:
        """Bring back what was said before the newest revision, as a revision of its own.

        Raises:
            NotFoundError: the picture is not known.
            ConflictError: nobody has said anything yet.
        """
        with self._database.write() as session:
            image = _image(session, sha256, lock=True)
            if image.revision == 0:
                raise ConflictError("there is nothing to undo: the picture has no label")
            before = session.get(Annotation, (sha256, image.revision - 1))
            # Whoever takes a look back does not stand for what was said before.
            look = Look(
                before.decision if before else ReviewStatus.PENDING,
                labelled_boxes(before.boxes) if before else (),
                before.reviewer if before else reviewer,
            )
            forget_comparison(session, sha256, image.revision)
            self._append(session, image, look, status_after_undo(before, self._policy))
            audit.record(session, reviewer, "undo label", sha256, revision=image.revision)
            return read_items(session, [image])[0]

    def label_alike(
        self, sha256: str, others: Collection[str], *, reviewer: str
    ) -> tuple[list[ReviewItem], dict[str, str]]:
        """Say the same about pictures that look like this one.

        Each gets an annotation of its own, as if it had been looked at alone.

        Args:
            sha256: A picture with a label.
            others: Pictures of its group that wait for review.
            reviewer: Who has looked at them.

        Returns:
            The pictures that were saved, and why others were not, by their SHA-256.

        Raises:
            NotFoundError: the picture is not known.
            ConflictError: it has no label that could be passed on.
        """
        item = self.item(sha256)
        image = item.image
        if not image.revision or image.status is ReviewStatus.PENDING:
            raise ConflictError("label this picture first: there is nothing to pass on")
        with self._database.read() as session:
            alike = {other.sha256: other for other in waiting_alike(session, sha256)}
            in_force = session.get_one(Annotation, (sha256, image.revision))
        saved: list[ReviewItem] = []
        refused: dict[str, str] = {}
        for other in others:
            if other not in alike:
                refused[other] = "it does not wait for review, or does not look alike"
                continue
            try:
                saved.append(
                    self.save(
                        other,
                        decision=in_force.decision,
                        boxes=item.annotations,
                        reviewer=reviewer,
                        revision=alike[other].revision,
                    )
                )
            except CloudError as error:
                refused[other] = str(error)
        return saved, refused

    def alike(self, sha256: str) -> list[ReviewItem]:
        """Pictures that look like this one and wait for review.

        Raises:
            NotFoundError: the picture is not known.
        """
        with self._database.read() as session:
            _image(session, sha256)
            return read_items(session, waiting_alike(session, sha256))

    def agreement(self) -> AgreementReport:
        """How far reviewers agree, where two have looked."""
        return agreement_report(self._database)

    def _append(self, session: Session, image: Image, look: Look, status: ReviewStatus) -> None:
        now = self._now()
        with counted_review(session, image):
            image.revision += 1
            image.status = status
            image.reviewer = look.reviewer
            image.reviewed_at = now
            image.snapshot_id = None
            session.add(
                Annotation(
                    image_sha256=image.sha256,
                    revision=image.revision,
                    decision=look.decision,
                    boxes=[
                        {"category": box.category, "bbox": list(box.bbox)} for box in look.boxes
                    ],
                    reviewer=look.reviewer,
                    created_at=now,
                )
            )

    # --- categories --------------------------------------------------------------------------

    def categories(self) -> list[Category]:
        """What may be drawn, in the order of the label map."""
        with self._database.read() as session:
            return read_categories(session)

    def add_category(self, name: str, kind: CategoryKind, *, actor: str) -> Category:
        """Add a category; adding it again with the same kind changes nothing.

        Raises:
            ConflictError: it exists with the other kind.
        """
        category = Category(name=name, kind=kind)
        with self._database.write() as session:
            known = {row.name: row.kind for row in session.scalars(select(CategoryRow))}
            if known.get(name, kind) is not kind:
                raise ConflictError(f"category {name} exists and is a kind of {known[name]}")
            if add_categories(session, [category], actor=actor, now=self._now()):
                audit.record(session, actor, "add category", name, kind=str(kind))
        return category


def _count(status: ReviewStatus) -> Select[int]:
    some = select(Image.sha256).where(Image.status == status).limit(MAX_COUNTED).subquery()
    return select(func.count()).select_from(some)


def _image(session: Session, sha256: str, *, lock: bool = False) -> Image:
    image = session.get(Image, sha256, with_for_update=lock)
    if image is None:
        raise NotFoundError("picture", sha256)
    return image

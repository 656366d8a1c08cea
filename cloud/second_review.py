"""The second look: which labels count at once, which wait for somebody else, who arbitrates."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from cloud.agreement import NOTHING, Pair, SecondReview, cohens_kappa, compare
from cloud.db.review_tables import Agreement
from cloud.db.session import Database
from cloud.db.tables import Annotation, Image, ReviewStatus
from cloud.errors import NotAllowedError
from cloud.review_items import LabelledBox, labelled_boxes

MAX_COMPARED = 5_000
"""Newest comparisons that figures are made of."""


@dataclass(frozen=True, slots=True)
class Look:
    """What somebody says about a picture now.

    Attributes:
        decision: ``labelled`` or ``rejected``.
        boxes: What is in it.
        reviewer: Who says so.
        may_arbitrate: Whether that person may decide between two others.
    """

    decision: ReviewStatus
    boxes: tuple[LabelledBox, ...]
    reviewer: str
    may_arbitrate: bool = False


def settle(
    session: Session, image: Image, look: Look, policy: SecondReview, now: datetime
) -> ReviewStatus:
    """Status of a picture after one more look, which is not written down yet.

    Raises:
        NotAllowedError: the picture is disputed and this person may not decide it.
    """
    if image.status is ReviewStatus.DISPUTED:
        _check_arbiter(session, image, look)
        return look.decision
    if image.status is ReviewStatus.SECOND_LOOK:
        first = session.get_one(Annotation, (image.sha256, image.revision))
        if first.reviewer == look.reviewer:  # corrects the own first look
            return ReviewStatus.SECOND_LOOK
        return _compared(session, image, first, look, min_iou=policy.min_iou, now=now)
    if policy.wanted(image.sha256, (box.category for box in look.boxes)):
        return ReviewStatus.SECOND_LOOK
    return look.decision


def status_after_undo(before: Annotation | None, policy: SecondReview) -> ReviewStatus:
    """Status of a picture whose newest look was taken back."""
    if before is None or before.decision is ReviewStatus.PENDING:
        return ReviewStatus.PENDING
    if policy.wanted(before.image_sha256, (box["category"] for box in before.boxes)):
        return ReviewStatus.SECOND_LOOK
    return before.decision


def forget_comparison(session: Session, sha256: str, revision: int) -> None:
    """Take back what a look that was undone had been compared to."""
    session.execute(
        delete(Agreement).where(
            Agreement.image_sha256 == sha256, Agreement.second_revision == revision
        )
    )


def _check_arbiter(session: Session, image: Image, look: Look) -> None:
    if not look.may_arbitrate:
        raise NotAllowedError("two reviewers disagree on this picture: an ML engineer decides")
    query = select(Agreement).where(Agreement.image_sha256 == image.sha256)
    compared = session.scalars(query.order_by(Agreement.id.desc()).limit(1)).one_or_none()
    if compared and look.reviewer in {compared.first_reviewer, compared.second_reviewer}:
        raise NotAllowedError("you are one of the two who disagree: somebody else decides")


def _compared(
    session: Session,
    image: Image,
    first: Annotation,
    look: Look,
    *,
    min_iou: float,
    now: datetime,
) -> ReviewStatus:
    found = compare(
        [(box.category, box.bbox) for box in labelled_boxes(first.boxes)],
        [(box.category, box.bbox) for box in look.boxes],
        min_iou=min_iou,
    )
    is_agreed = first.decision is look.decision and found.is_agreed
    session.add(
        Agreement(
            image_sha256=image.sha256,
            first_revision=first.revision,
            second_revision=image.revision + 1,
            first_reviewer=first.reviewer,
            second_reviewer=look.reviewer,
            is_agreed=is_agreed,
            mean_iou=found.mean_iou,
            pairs=[list(pair) for pair in found.pairs],
            created_at=now,
        )
    )
    return look.decision if is_agreed else ReviewStatus.DISPUTED


# --- figures ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AgreementFigures:
    """How far two people, or all, agree.

    Attributes:
        num_pictures: Pictures that were looked at twice.
        num_agreed: On which both said the same.
        kappa: Cohen's, over every box that at least one of them marked.
        mean_iou: Of the boxes that both marked.
    """

    num_pictures: int
    num_agreed: int
    kappa: float | None
    mean_iou: float | None


@dataclass(frozen=True, slots=True)
class CategoryAgreement:
    """How often both marked a category, of the times that at least one did."""

    category: str
    num_either: int
    num_both: int


@dataclass(frozen=True, slots=True)
class AgreementReport:
    """Agreement in all, by the two people, and by category."""

    overall: AgreementFigures
    by_reviewers: dict[tuple[str, str], AgreementFigures] = field(default_factory=dict)
    by_category: tuple[CategoryAgreement, ...] = ()


def agreement_report(database: Database) -> AgreementReport:
    """Figures over the newest `MAX_COMPARED` second looks."""
    query = select(Agreement).order_by(Agreement.id.desc()).limit(MAX_COMPARED)
    with database.read() as session:
        rows = session.scalars(query).all()
    people: dict[tuple[str, str], list[Agreement]] = defaultdict(list)
    for row in rows:
        one, other = sorted((row.first_reviewer, row.second_reviewer))
        people[one, other].append(row)
    return AgreementReport(
        _figures(rows),
        {names: _figures(found) for names, found in sorted(people.items())},
        _by_category(rows),
    )


def _pairs(rows: Sequence[Agreement]) -> list[Pair]:
    return [(str(one), str(other)) for row in rows for one, other in row.pairs]


def _figures(rows: Sequence[Agreement]) -> AgreementFigures:
    overlaps = [row.mean_iou for row in rows if row.mean_iou is not None]
    return AgreementFigures(
        num_pictures=len(rows),
        num_agreed=sum(row.is_agreed for row in rows),
        kappa=cohens_kappa(_pairs(rows)),
        mean_iou=sum(overlaps) / len(overlaps) if overlaps else None,
    )


def _by_category(rows: Sequence[Agreement]) -> tuple[CategoryAgreement, ...]:
    pairs = _pairs(rows)
    names = sorted({name for pair in pairs for name in pair if name != NOTHING})
    return tuple(
        CategoryAgreement(
            name,
            num_either=sum(name in pair for pair in pairs),
            num_both=sum(pair == (name, name) for pair in pairs),
        )
        for name in names
    )

"""Groups of pictures that look alike: kept as they arrive, asked for by the review."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from cloud.db.review_tables import Likeness
from cloud.db.tables import Image, ReviewStatus
from cloud.likeness import nearest

WINDOW = timedelta(hours=24)
MAX_COMPARED = 100
"""Pictures of the same view that a new one is compared with: the newest."""
MAX_OFFERED = 24
"""Pictures alike that are offered at once: more than fit on a screen nobody looks at."""


@dataclass(frozen=True, slots=True)
class NewPicture:
    """A picture that has just arrived, and its print."""

    sha256: str
    cell: str
    view: str
    created_at: datetime
    print_: bytes


def keep_likenesses(session: Session, pictures: Iterable[NewPicture]) -> None:
    """Write down what pictures look like and which group each belongs to; known ones stay."""
    ordered = {picture.sha256: picture for picture in pictures}
    if not ordered:
        return
    query = select(Likeness.image_sha256).where(Likeness.image_sha256.in_(ordered))
    known = set(session.scalars(query))
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    insert = sqlite.insert if is_sqlite else postgresql.insert
    for picture in sorted(ordered.values(), key=lambda one: (one.created_at, one.sha256)):
        if picture.sha256 in known:
            continue
        # One by one, as the next may look like this one; another process may have been faster.
        row = insert(Likeness).values(_likeness(session, picture))
        session.execute(row.on_conflict_do_nothing(index_elements=["image_sha256"]))


def _likeness(session: Session, picture: NewPicture) -> dict[str, Any]:
    recent = (
        select(Likeness.picture_print, Likeness.group_id)
        .where(
            Likeness.cell == picture.cell,
            Likeness.view == picture.view,
            Likeness.created_at > picture.created_at - WINDOW,
            Likeness.created_at < picture.created_at + WINDOW,
        )
        .order_by(Likeness.created_at.desc())
        .limit(MAX_COMPARED)
    )
    found = [(print_, group) for print_, group in session.execute(recent)]
    return {
        "image_sha256": picture.sha256,
        "cell": picture.cell,
        "view": picture.view,
        "created_at": picture.created_at,
        "picture_print": picture.print_,
        "group_id": nearest(picture.print_, found) or picture.sha256,
    }


def groups_of(session: Session, images: Sequence[str]) -> dict[str, str]:
    """Group of each of these pictures; one whose look was never taken is a group of its own."""
    query = select(Likeness.image_sha256, Likeness.group_id).where(
        Likeness.image_sha256.in_(images)
    )
    found = dict(session.execute(query).all())
    return {sha256: found.get(sha256, sha256) for sha256 in images}


def pending_in(session: Session, groups: Iterable[str]) -> Mapping[str, int]:
    """How many pictures of each group wait for review."""
    query = (
        select(Likeness.group_id, func.count())
        .join(Image, Image.sha256 == Likeness.image_sha256)
        .where(Likeness.group_id.in_(set(groups)), Image.status == ReviewStatus.PENDING)
        .group_by(Likeness.group_id)
    )
    return dict(session.execute(query).all())


def waiting_alike(session: Session, sha256: str) -> Sequence[Image]:
    """Pictures that look like this one and wait for review, oldest first."""
    group = groups_of(session, [sha256])[sha256]
    query = (
        select(Image)
        .join(Likeness, Likeness.image_sha256 == Image.sha256)
        .where(
            Likeness.group_id == group,
            Image.sha256 != sha256,
            Image.status == ReviewStatus.PENDING,
        )
        .order_by(Image.created_at, Image.sha256)
        .limit(MAX_OFFERED)
    )
    return session.scalars(query).all()

"""Reads that only the dashboard needs."""

from typing import Any
from uuid import UUID

from sqlalchemy import select

from cloud.dashboard import wording
from cloud.dashboard.line_view import boxes_of
from cloud.dashboard.links import image_url
from cloud.db.session import Database
from cloud.db.tables import CategoryRow, Image, Release, Result

Json = dict[str, Any]


def category_kinds(database: Database) -> dict[str, str]:
    """Whether each category is an ``object`` or a ``defect``, from labels and newest model."""
    with database.read() as session:
        release = session.scalar(select(Release).order_by(Release.release.desc()).limit(1))
        rows = session.scalars(select(CategoryRow)).all()
    kinds = {
        str(item["name"]): str(item["kind"]) for item in (release.categories if release else [])
    }
    return kinds | {row.name: row.kind.value for row in rows}


def result_with_image(database: Database, result_id: str) -> Json | None:
    """One result as the dialog of the Line page shows it."""
    kinds = category_kinds(database)
    with database.read() as session:
        result = session.scalar(select(Result).where(Result.result_id == UUID(result_id)))
        if result is None:
            return None
        image = session.scalar(select(Image).where(Image.result_id == result.result_id))
    return {
        "result_id": result_id,
        "part_id": result.part_id,
        "cell_title": wording.cell_title(result.cell),
        "ago": wording.ago_text(result.created_at),
        "verdict": result.verdict.value,
        "reasons": [wording.reason_text(reason) for reason in result.reasons],
        "url": image_url(image.sha256) if image else "",
        "width": (image.width_px if image else result.image_width_px) or 5,
        "height": (image.height_px if image else result.image_height_px) or 4,
        "boxes": boxes_of(result.detections, kinds) if image else [],
    }

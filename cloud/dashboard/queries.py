"""Reads that only the dashboard needs."""

from typing import Any
from uuid import UUID

from sqlalchemy import select

from cloud.dashboard import wording
from cloud.dashboard.legend import Legend
from cloud.dashboard.links import image_url
from cloud.db.session import Database
from cloud.db.tables import Image, Result

Json = dict[str, Any]


def result_with_image(database: Database, legend: Legend, result_id: str) -> Json | None:
    """One result as the dialog of the Line page shows it."""
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
        "boxes": legend.boxes(result.detections, result.bundle_id) if image else [],
    }

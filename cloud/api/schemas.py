"""Documents that several routers answer with."""

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel

from cloud.db.tables import Image, Result, ReviewStatus
from models.contract.messages import DetectionRecord, Reason, ResultState, Verdict


class ImageOut(BaseModel):
    """A stored picture; its bytes are at ``url``."""

    sha256: str
    url: str
    content_type: str
    num_bytes: int
    width_px: int
    height_px: int
    cell: str
    result_id: UUID
    part_id: str
    view: str
    hard_reasons: list[str]
    status: ReviewStatus
    revision: int
    created_at: datetime

    @classmethod
    def of(cls, image: Image) -> Self:
        """From its row."""
        return cls(
            url=f"/v1/images/{image.sha256}",
            **{name: getattr(image, name) for name in cls.model_fields if name != "url"},
        )


class ResultOut(BaseModel):
    """One inspection of one view of one part."""

    result_id: UUID
    cell: str
    boot_id: UUID
    seq: int
    created_at: datetime
    received_at: datetime
    job_id: UUID
    trigger_id: str
    part_id: str
    view: str
    verdict: Verdict
    is_partial: bool
    result_state: ResultState
    reasons: list[Reason]
    detections: list[DetectionRecord]
    recipe_id: str
    recipe_version: int
    release: int | None
    bundle_id: str | None
    model_name: str | None
    processing_ms: float
    inference_ms: float
    image_width_px: int
    image_height_px: int
    image_sha256: str | None
    mean_grey: float | None
    sharpness: float | None
    hard_reasons: list[str]
    is_simulated: bool
    image: ImageOut | None = None
    """The picture, where it was sent and has arrived."""

    @classmethod
    def of(cls, result: Result, image: Image | None = None) -> Self:
        """From its row and its picture's."""
        fields: dict[str, Any] = {
            name: getattr(result, name) for name in cls.model_fields if name != "image"
        }
        return cls(**fields, image=ImageOut.of(image) if image is not None else None)

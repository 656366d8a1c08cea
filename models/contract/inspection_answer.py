"""What ``POST /v1/inspect`` answers, on a cell as on the central server."""

from uuid import UUID

from pydantic import BaseModel, Field

from models.contract.bundle import ModelRef
from models.contract.messages import DetectionRecord, Reason, Verdict


class Timings(BaseModel):
    """Where the time went, in milliseconds."""

    inference_ms: float
    processing_ms: float = Field(description="From the queue's entrance to the verdict")


class InspectionAnswer(BaseModel):
    """What was decided about a picture."""

    result_id: UUID
    part_id: str
    verdict: Verdict
    reasons: tuple[Reason, ...]
    detections: tuple[DetectionRecord, ...]
    recipe_id: str
    recipe_version: int
    view: str
    model: ModelRef | None
    timings: Timings

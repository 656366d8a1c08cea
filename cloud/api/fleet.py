"""The fleet as a whole: how far each cell has drifted from what its model was judged on."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel

from cloud.api.context import Viewer
from cloud.api.learning import Learning
from cloud.drift import DriftLevel, Shift
from cloud.drift_watch import CellDrift

router = APIRouter(prefix="/v1/fleet", tags=["cells"])


class ShiftOut(BaseModel):
    """How one property of what a cell sees has moved."""

    name: str
    level: DriftLevel
    shift: Shift


class CellDriftOut(BaseModel):
    """Drift of one cell since its model came."""

    cell: str
    bundle_id: str | None
    since: datetime | None
    level: DriftLevel
    shifts: list[ShiftOut]

    @classmethod
    def of(cls, drift: CellDrift) -> "CellDriftOut":
        """From what the watch found."""
        return cls(
            cell=drift.cell,
            bundle_id=drift.bundle_id,
            since=drift.since,
            level=drift.level,
            shifts=[
                ShiftOut(name=shift.name, level=shift.level, shift=shift) for shift in drift.shifts
            ],
        )


@router.get("/drift")
def list_drift(learning: Learning, _viewer: Viewer) -> list[CellDriftOut]:
    """Population stability index of score, class, brightness and sharpness, of every cell.

    The time right after the present model came is compared with the latest parts, once a minute.
    """
    return [CellDriftOut.of(drift) for drift in learning.drift.cells()]

"""What a cell runs, what it should run, and telling it."""

from datetime import datetime

from cloud.db.tables import Cell
from models.contract.bundle import ModelRef
from models.contract.messages import Connection, DesiredModel, Reported


def reported_of(cell: Cell) -> Reported | None:
    """What the cell last said about its model."""
    return Reported.model_validate(cell.reported) if cell.reported else None


def is_online(cell: Cell) -> bool:
    """Whether its agent is there, as far as the broker knows."""
    return cell.status is not None and cell.status.get("connection") == Connection.ONLINE


def running_release(cell: Cell) -> int | None:
    """Release that it runs; 0 for a bundle installed by hand, None before its first report."""
    reported = reported_of(cell)
    return reported.model.release if reported and reported.model else None


def desired_release(cell: Cell) -> int:
    """Release that it was told to run; 0 when it was never told any."""
    return int(cell.desired["model"]["release"]) if cell.desired else 0


def highest_release(cell: Cell) -> int:
    """Highest release that it may have seen: it takes no lower one."""
    return max(desired_release(cell), running_release(cell) or 0)


def tell(
    cell: Cell,
    model: ModelRef,
    rollout_id: str,
    *,
    canary_parts: int,
    shadow_parts: int,
    now: datetime,
) -> None:
    """Set what a cell should run; `cloud.desired` sends it once the transaction is committed."""
    cell.desired_at = now
    cell.desired = DesiredModel(
        model=model,
        rollout_id=rollout_id,
        mode=cell.mode,
        canary_parts=canary_parts,
        shadow_parts=shadow_parts,
        issued_at=now,
    ).model_dump(mode="json")

"""Contradicting a verdict: a good part that was rejected, a bad one that was passed."""

from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel

from cloud.api.context import Ctx, Operator
from cloud.contradictions import Mistake

router = APIRouter(prefix="/v1/results", tags=["results"])


class ContradictionBody(BaseModel):
    """In which way the verdict was wrong."""

    kind: Mistake


class ContradictionOut(BaseModel):
    """What became of it."""

    part_id: str
    has_picture: bool
    """The picture is here and waits for review again."""
    is_told: bool
    """The cell was told; it sends the picture where it still has it."""
    text: str
    """The same in a sentence for the person."""


@router.post("/{result_id}/contradiction", status_code=202)
def contradict_result(
    context: Ctx, identity: Operator, result_id: UUID, body: ContradictionBody
) -> ContradictionOut:
    """Say that a verdict was wrong; its picture goes back into review and the cell is told."""
    noted = context.contradictions.report(result_id, body.kind, actor=identity.name)
    return ContradictionOut.model_validate(noted, from_attributes=True)

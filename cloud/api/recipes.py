"""Recipes for the cells: send a version, see what each cell said to it."""

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter
from pydantic import BaseModel, Field

from cloud.api.context import Controls, Ctx, Viewer
from cloud.api.paging import Cursor, Limit, Page, decode_cursor, page_of
from cloud.recipes import Push, PushState
from models.contract.recipe import Recipe

router = APIRouter(prefix="/v1/recipes", tags=["recipes"])

CellName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]{1,32}(/[A-Za-z0-9_\-]{1,32}){3}$")]


class PushBody(BaseModel):
    """A version of a recipe, and who shall work by it."""

    recipe: Recipe
    cells: list[CellName] = Field(min_length=1, max_length=1000)


class PushOut(BaseModel):
    """A recipe that one cell was sent."""

    id: int
    cell: str
    recipe_id: str
    version: int
    state: PushState
    answer: str
    """Why the cell refused, in its own words."""
    issued_at: datetime
    issued_by: str
    recipe: dict[str, Any]

    @classmethod
    def of(cls, push: Push) -> Self:
        """From its row and the cell's answer."""
        row = push.row
        return cls(
            id=row.id,
            cell=row.cell,
            recipe_id=row.recipe_id,
            version=row.version,
            state=push.state,
            answer=push.answer,
            issued_at=row.issued_at,
            issued_by=row.issued_by,
            recipe=row.recipe,
        )


@router.post("", status_code=201)
def push_recipe(context: Ctx, identity: Controls, body: PushBody) -> list[PushOut]:
    """Send a recipe to cells; it comes into force there between two parts."""
    pushes = context.recipes.push(body.recipe, body.cells, actor=identity.name)
    return [PushOut.of(push) for push in pushes]


@router.get("")
def list_recipes(
    context: Ctx, _viewer: Viewer, limit: Limit = 50, cursor: Cursor = None
) -> Page[PushOut]:
    """What was sent, newest first, with what each cell said to it."""
    before = decode_cursor(cursor, int)[0] if cursor else None
    pushes = context.recipes.recent(limit=limit + 1, before=before)
    return page_of(pushes, limit, item=PushOut.of, key=lambda push: (push.row.id,))

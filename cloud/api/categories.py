"""What may be drawn: the categories of the label map."""

from fastapi import APIRouter

from cloud.api.context import Quality, Viewer
from cloud.api.learning import Learning
from models.contract.bundle import Category

router = APIRouter(prefix="/v1/categories", tags=["review"])


@router.get("")
def list_categories(learning: Learning, _viewer: Viewer) -> list[Category]:
    """All categories in the order of the label map."""
    return learning.labeling.categories()


@router.post("", status_code=201)
def add_category(learning: Learning, identity: Quality, body: Category) -> Category:
    """Add a category; the next snapshot that uses it teaches it to the model."""
    return learning.labeling.add_category(body.name, body.kind, actor=identity.name)

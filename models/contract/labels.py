"""What a label file says, whatever its format: pictures, boxes, categories, and its faults."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from models.contract.bundle import Category, CategoryKind
from models.contract.model import ContractError

MISSING_PREFIX = "missing"


@dataclass(frozen=True, slots=True)
class Annotation:
    """One labelled box; COCO order, in pixels or, from YOLO, in parts of the picture's size."""

    category: str
    x: float
    y: float
    width: float
    height: float

    def as_row(self) -> dict[str, str | float]:
        """Its fields by name; `dataclasses.asdict` takes thirty times as long for the same."""
        return {
            "category": self.category,
            "x": self.x,
            "y": self.y,
            "width": self.width,
            "height": self.height,
        }


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """A picture that a label file names, and its boxes."""

    file_name: str
    part_id: str
    annotations: tuple[Annotation, ...]
    source_id: int = 0
    """Number of the picture in a COCO file, for results that refer to it."""
    stem: str = ""
    """Path of the label file without its ending, where each picture has one: the picture's own
    path but for the ending, unless `file_name` is there."""
    size: tuple[int, int] | None = None
    """Width and height that the labels were drawn on, where the file says so."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that was left out, and why."""

    item: str
    reason: str
    other: str = ""
    """The picture that it collides with, if it is that."""


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Everything that a label file says."""

    pictures: tuple[LabelledPicture, ...]
    categories: tuple[Category, ...]
    is_relative: bool = False
    """Boxes are centre-free fractions of the picture's size instead of pixels."""
    refused: tuple[Refusal, ...] = ()
    category_ids: Mapping[str, int] = field(default_factory=dict)
    """Numbers of the categories in a COCO file."""


def kind_of(name: str, names: Iterable[str], supercategory: str = "") -> CategoryKind:
    """Whether a category is an object or a defect.

    The label file may say so in ``supercategory``. Else a category is an object when another is
    called "missing" that thing, and a defect when nothing speaks for either: a defect that is
    taken for an object would be passed.
    """
    if supercategory in list(CategoryKind):
        return CategoryKind(supercategory)
    plain = _plain(name)
    if plain.startswith(MISSING_PREFIX):
        return CategoryKind.DEFECT
    missing = {_plain(other) for other in names if _plain(other).startswith(MISSING_PREFIX)}
    return CategoryKind.OBJECT if MISSING_PREFIX + plain in missing else CategoryKind.DEFECT


def categories_of(
    names: Iterable[str], where: Path, supercategories: Mapping[str, str] | None = None
) -> tuple[Category, ...]:
    """Categories of these names, their kinds as `kind_of` sees them.

    Raises:
        ContractError: a name has letters that a category's name may not have.
    """
    names = tuple(names)
    known = supercategories or {}
    try:
        return tuple(
            Category(name=name, kind=kind_of(name, names, known.get(name, ""))) for name in names
        )
    except ValidationError as error:
        bad = error.errors()[0].get("input")
        raise ContractError(
            f"{where}: {bad!r} cannot be the name of a category: use letters, digits, blanks and"
            " . _ - (at most 64)"
        ) from error


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")

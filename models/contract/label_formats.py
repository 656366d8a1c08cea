"""Label files of other tools, read into one form: COCO, YOLO and Pascal VOC.

Nothing here opens a picture, so YOLO's boxes stay relative until the picture's size is known.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

from pydantic import ValidationError

from models.contract.bundle import Category, CategoryKind
from models.contract.model import ContractError

YOLO_CLASS_FILES = ("classes.txt", "obj.names")
MISSING_PREFIX = "missing"


@dataclass(frozen=True, slots=True)
class Annotation:
    """One labelled box; COCO order, in pixels or, from YOLO, in parts of the picture's size."""

    category: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """A picture that a label file names, and its boxes."""

    file_name: str
    part_id: str
    annotations: tuple[Annotation, ...]
    source_id: int = 0
    """Number of the picture in a COCO file, for results that refer to it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that was left out, and why."""

    item: str
    reason: str


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


def read_labels(
    labels_format: str,
    labels: Path,
    *,
    objects: Iterable[str] = (),
    defects: Iterable[str] = (),
) -> LabelSet:
    """Read a label file or folder.

    Args:
        labels_format: ``coco``, ``yolo`` or ``voc``.
        labels: COCO: the JSON file. YOLO: the folder of ``.txt`` files with ``classes.txt`` in it
            or beside it. VOC: the folder of ``.xml`` files.
        objects: categories that are wanted in a picture, whatever the file says.
        defects: categories that are not.

    Raises:
        ContractError: the file is missing or is not in this format.
    """
    readers: dict[str, Callable[[Path], LabelSet]] = {
        "coco": _read_coco,
        "yolo": _read_yolo,
        "voc": _read_voc,
    }
    if labels_format not in readers:
        raise ContractError(f"unknown label format {labels_format!r}: use coco, yolo or voc")
    if not labels.exists():
        raise ContractError(f"no label file {labels}")
    found = readers[labels_format](labels)
    if not found.pictures:
        raise ContractError(f"{labels} names no picture")
    kinds = dict.fromkeys(objects, CategoryKind.OBJECT) | dict.fromkeys(
        defects, CategoryKind.DEFECT
    )
    categories = tuple(
        category.model_copy(update={"kind": kinds.get(category.name, category.kind)})
        for category in found.categories
    )
    return LabelSet(
        found.pictures, categories, found.is_relative, found.refused, found.category_ids
    )


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


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")


def _categories(
    names: Iterable[str], supercategories: Mapping[str, str], where: Path
) -> tuple[Category, ...]:
    names = tuple(names)
    try:
        return tuple(
            Category(name=name, kind=kind_of(name, names, supercategories.get(name, "")))
            for name in names
        )
    except ValidationError as error:
        bad = error.errors()[0].get("input")
        raise ContractError(f"{where}: {bad!r} cannot be the name of a category") from error


def _read_coco(labels: Path) -> LabelSet:
    try:
        document = json.loads(labels.read_bytes())
        names = {int(entry["id"]): str(entry["name"]) for entry in document["categories"]}
        images = {int(entry["id"]): entry for entry in document["images"]}
        rows: dict[int, list[Annotation]] = {image_id: [] for image_id in images}
        refused = []
        for entry in document["annotations"]:
            fault = _coco_fault(entry, images, names)
            if fault:
                refused.append(Refusal(f"annotation {entry.get('id')}", fault))
                continue
            x, y, width, height = (float(value) for value in entry["bbox"])
            box = Annotation(names[entry["category_id"]], x, y, width, height)
            rows[entry["image_id"]].append(box)
        pictures = tuple(
            _coco_picture(image_id, entry, rows[image_id]) for image_id, entry in images.items()
        )
        supercategories = {
            str(entry["name"]): str(entry.get("supercategory", ""))
            for entry in document["categories"]
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ContractError(f"{labels} is not a COCO label file: {error!r}") from error
    categories = _categories(names.values(), supercategories, labels)
    ids = {name: number for number, name in names.items()}
    return LabelSet(pictures, categories, refused=tuple(refused), category_ids=ids)


def _coco_fault(entry: dict[str, Any], images: dict[int, Any], names: dict[int, str]) -> str:
    """Why an annotation cannot be used; empty when it can."""
    if entry.get("image_id") not in images:
        return "unknown picture"
    if entry.get("category_id") not in names:
        return "unknown category"
    if entry.get("iscrowd"):
        return "crowd region"
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        return "no box"
    return ""


def _coco_picture(image_id: int, entry: dict[str, Any], boxes: list[Annotation]) -> LabelledPicture:
    name = str(entry["file_name"])
    part = str(entry.get("part_id") or PurePosixPath(name).stem)
    return LabelledPicture(name, part, tuple(boxes), image_id)


def _read_yolo(labels: Path) -> LabelSet:
    if not labels.is_dir():
        raise ContractError(f"{labels} is not a folder of YOLO .txt files")
    names = _yolo_names(labels)
    pictures, refused = [], []
    for path in sorted(labels.rglob("*.txt")):
        if path.name in YOLO_CLASS_FILES:
            continue
        boxes = []
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if not line.strip():
                continue
            box = _yolo_box(line, names)
            if isinstance(box, str):
                refused.append(Refusal(f"{path.name} line {number}", box))
            else:
                boxes.append(box)
        stem = path.relative_to(labels).with_suffix("").as_posix()
        pictures.append(LabelledPicture(stem, PurePosixPath(stem).name, tuple(boxes)))
    categories = _categories(names, {}, labels)
    return LabelSet(tuple(pictures), categories, is_relative=True, refused=tuple(refused))


def _yolo_names(labels: Path) -> list[str]:
    for folder in (labels, labels.parent):
        for file in YOLO_CLASS_FILES:
            if (folder / file).is_file():
                lines = (folder / file).read_text().splitlines()
                return [line.strip() for line in lines if line.strip()]
    raise ContractError(
        f"no {YOLO_CLASS_FILES[0]} in {labels} or beside it: it names the categories"
    )


def _yolo_box(line: str, names: list[str]) -> Annotation | str:
    """Read ``class cx cy w h``, all but the class in parts of the picture's size."""
    try:
        number, *values = line.split()
        center_x, center_y, width, height = (float(value) for value in values[:4])
        category = int(number)
    except ValueError:
        return "no box"
    if not 0 <= category < len(names):
        return "unknown category"
    x, y = center_x - width / 2, center_y - height / 2
    return Annotation(names[category], x, y, width, height)


def _read_voc(labels: Path) -> LabelSet:
    if not labels.is_dir():
        raise ContractError(f"{labels} is not a folder of VOC .xml files")
    pictures, refused, names = [], [], dict[str, None]()
    for path in sorted(labels.rglob("*.xml")):
        try:
            root = ElementTree.parse(path).getroot()  # noqa: S314 - expat limits expansion
        except ElementTree.ParseError:
            refused.append(Refusal(path.name, "broken label file"))
            continue
        boxes = []
        for entry in root.iter("object"):
            box = _voc_box(entry)
            if box is None:
                refused.append(Refusal(path.name, "no box"))
                continue
            boxes.append(box)
            names[box.category] = None
        name = root.findtext("filename") or path.with_suffix(".jpg").name
        pictures.append(LabelledPicture(name, PurePosixPath(name).stem, tuple(boxes)))
    categories = _categories(sorted(names), {}, labels)
    return LabelSet(tuple(pictures), categories, refused=tuple(refused))


def _voc_box(entry: ElementTree.Element) -> Annotation | None:
    try:
        x1, y1, x2, y2 = (
            float(entry.findtext(f"bndbox/{side}") or "")
            for side in ("xmin", "ymin", "xmax", "ymax")
        )
    except ValueError:
        return None
    name = (entry.findtext("name") or "").strip()
    return Annotation(name, x1, y1, x2 - x1, y2 - y1) if name else None

"""COCO's label file: one JSON document with pictures, categories and boxes by number."""

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from models.contract.labels import (
    Annotation,
    LabelledPicture,
    LabelSet,
    Refusal,
    categories_of,
)
from models.contract.model import ContractError

UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    OverflowError,  # a number that is none, such as Infinity
)


def read_coco(labels: Path) -> LabelSet:
    """Read a COCO file; a single bad annotation is listed, not fatal.

    Raises:
        ContractError: it is not in this format.
    """
    try:
        document = json.loads(labels.read_bytes())
        names = {int(entry["id"]): str(entry["name"]) for entry in document["categories"]}
        supercategories = {
            str(entry["name"]): str(entry.get("supercategory", ""))
            for entry in document["categories"]
        }
        images = {int(entry["id"]): entry for entry in document["images"]}
        files = {image_id: str(entry["file_name"]) for image_id, entry in images.items()}
        annotations = list(document["annotations"])
        num_listed = len(document["images"])
    except UNREADABLE as error:
        cause = repr(error).splitlines()[0]
        raise ContractError(f"{labels} is not a COCO label file: {cause}") from error
    rows: dict[int, list[Annotation]] = {image_id: [] for image_id in images}
    refused = []
    if num_listed > len(images):
        refused.append(Refusal(f"{num_listed - len(images)} pictures", "picture number used twice"))
    for entry in annotations:
        box = _box(entry, files, names)
        if isinstance(box, Annotation):
            rows[entry["image_id"]].append(box)
        else:
            refused.append(Refusal(_name_of(entry, files), box))
    pictures = tuple(
        _picture(image_id, files[image_id], entry, rows[image_id])
        for image_id, entry in images.items()
    )
    return LabelSet(
        pictures,
        categories_of(dict.fromkeys(names.values()), labels, supercategories),
        refused=tuple(refused),
        category_ids={name: number for number, name in names.items()},
    )


def _box(entry: Any, files: Mapping[int, str], names: Mapping[int, str]) -> Annotation | str:  # noqa: ANN401 - JSON
    """An annotation's box, or why it cannot be used."""
    if not isinstance(entry, dict):
        return "no box"
    if _named(files, entry.get("image_id")) is None:
        return "unknown picture"
    category = _named(names, entry.get("category_id"))
    if category is None:
        return "unknown category"
    if entry.get("iscrowd"):
        return "crowd region"
    try:
        x, y, width, height = (float(value) for value in entry["bbox"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return "no box"
    return Annotation(category, x, y, width, height)


def _named(names: Mapping[int, str], number: Any) -> str | None:  # noqa: ANN401 - JSON
    return names.get(number) if isinstance(number, int) else None


def _name_of(entry: Any, files: Mapping[int, str]) -> str:  # noqa: ANN401 - JSON
    if not isinstance(entry, dict):
        return "annotation"
    file_name = _named(files, entry.get("image_id"))
    return f"annotation {entry.get('id')}" + (f" of {file_name}" if file_name else "")


def _picture(
    image_id: int, name: str, entry: dict[str, Any], boxes: list[Annotation]
) -> LabelledPicture:
    part = str(entry.get("part_id") or PurePosixPath(name).stem)
    return LabelledPicture(name, part, tuple(boxes), image_id, size=_size(entry))


def _size(entry: dict[str, Any]) -> tuple[int, int] | None:
    try:
        size = int(entry["width"]), int(entry["height"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return size if min(size) > 0 else None

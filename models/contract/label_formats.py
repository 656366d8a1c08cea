"""Label files of other tools, read into one form: COCO, YOLO and Pascal VOC.

Nothing here opens a picture, so YOLO's boxes stay relative until the picture's size is known.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from models.contract.bundle import CategoryKind
from models.contract.label_coco import read_coco
from models.contract.label_voc import read_voc
from models.contract.label_yolo import read_yolo
from models.contract.labels import (
    Annotation,
    LabelledPicture,
    LabelSet,
    Refusal,
    categories_of,
    kind_of,
)
from models.contract.model import ContractError

__all__ = [
    "Annotation",
    "LabelSet",
    "LabelledPicture",
    "Refusal",
    "kind_of",
    "only_categories",
    "read_labels",
]

READERS: dict[str, Callable[[Path], LabelSet]] = {
    "coco": read_coco,
    "yolo": read_yolo,
    "voc": read_voc,
}


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
        labels: COCO: the JSON file. YOLO: the folder of ``.txt`` files with ``classes.txt`` or
            ``data.yaml`` in it or above it. VOC: the folder of ``.xml`` files.
        objects: categories that are wanted in a picture, whatever the file says.
        defects: categories that are not.

    Raises:
        ContractError: the file is missing or is not in this format.
    """
    if labels_format not in READERS:
        raise ContractError(f"unknown label format {labels_format!r}: use coco, yolo or voc")
    if not labels.exists():
        raise ContractError(f"no label file {labels}")
    found = READERS[labels_format](labels)
    if not found.pictures:
        why = "".join(f" ({refusal.reason}: {refusal.item})" for refusal in found.refused[:1])
        raise ContractError(f"{labels} names no picture{why}")
    kinds = dict.fromkeys(objects, CategoryKind.OBJECT) | dict.fromkeys(
        defects, CategoryKind.DEFECT
    )
    categories = tuple(
        category.model_copy(update={"kind": kinds.get(category.name, category.kind)})
        for category in found.categories
    )
    return replace(found, categories=categories)


def only_categories(labels: LabelSet, names: Iterable[str], where: Path) -> LabelSet:
    """Labels with these categories alone, in this order; boxes of others are listed as refused."""
    names = tuple(names)
    known = {category.name: category for category in labels.categories}
    new = {category.name: category for category in categories_of(names, where)}
    refused = list(labels.refused)
    pictures = []
    for picture in labels.pictures:
        kept = tuple(box for box in picture.annotations if box.category in names)
        refused += [
            Refusal(f"{box.category} in {picture.file_name}", "unknown category")
            for box in picture.annotations
            if box.category not in names
        ]
        pictures.append(replace(picture, annotations=kept))
    return replace(
        labels,
        pictures=tuple(pictures),
        categories=tuple(known.get(name, new[name]) for name in names),
        refused=tuple(refused),
    )

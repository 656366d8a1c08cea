"""A snapshot's labels in the forms that other tools read, as the files of a ZIP archive. Pure.

``coco``
    ``images/`` and a document for each split in ``annotations/``.
``yolo``
    ``images/SPLIT``, ``labels/SPLIT``, ``classes.txt`` and Ultralytics' ``data.yaml``.
``voc``
    ``JPEGImages``, ``Annotations`` and ``ImageSets/Main``.
``labelstudio``
    ``tasks.json`` in Label Studio's task format with the pictures below ``images/``, which is to be
    added as local storage, and the labelling configuration.
``fiftyone``
    ``data/`` and ``labels.json``: what `fiftyone.types.COCODetectionDataset` expects.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from xml.etree import ElementTree as Xml
from xml.sax.saxutils import quoteattr

from cloud.snapshot_pictures import SnapshotPicture
from models.contract.bundle import Category
from models.contract.snapshot import Split

File = tuple[str, bytes]
"""Path in the archive and content."""
SPLIT_NAMES = {Split.TRAIN: "train", Split.VAL: "val", Split.LOCKED: "test"}
"""What other tools call our splits; they judge on "test"."""


class LabelFormat(StrEnum):
    """A form that other tools read."""

    COCO = "coco"
    YOLO = "yolo"
    VOC = "voc"
    LABEL_STUDIO = "labelstudio"
    FIFTYONE = "fiftyone"


def label_files(
    format_: LabelFormat, pictures: Sequence[SnapshotPicture], categories: Sequence[Category]
) -> Iterator[File]:
    """Everything but the pictures themselves."""
    return _WRITERS[format_](pictures, categories)


def picture_path(format_: LabelFormat, picture: SnapshotPicture) -> str:
    """Where a picture goes in the archive."""
    name = file_name(picture)
    return {
        LabelFormat.YOLO: f"images/{SPLIT_NAMES[picture.split]}/{name}",
        LabelFormat.VOC: f"JPEGImages/{name}",
        LabelFormat.FIFTYONE: f"data/{name}",
    }.get(format_, f"images/{name}")


def file_name(picture: SnapshotPicture) -> str:
    """Name of a picture: its part for people, its identity so that it is found again."""
    part = "".join(
        letter if letter.isalnum() or letter in "-_." else "_" for letter in picture.part_id
    )
    identity = "".join(letter for letter in picture.image_id if letter.isalnum())
    return f"{part[:60] or 'part'}-{identity[:16]}.{picture.suffix}"


def _coco(pictures: Sequence[SnapshotPicture], categories: Sequence[Category]) -> Iterator[File]:
    for split, name in SPLIT_NAMES.items():
        chosen = [picture for picture in pictures if picture.split is split]
        document = _coco_document(chosen, categories, file_name)
        yield f"annotations/instances_{name}.json", _json(document)


def _fiftyone(
    pictures: Sequence[SnapshotPicture], categories: Sequence[Category]
) -> Iterator[File]:
    yield "labels.json", _json(_coco_document(pictures, categories, file_name))


def _coco_document(
    pictures: Sequence[SnapshotPicture],
    categories: Sequence[Category],
    name_of: Callable[[SnapshotPicture], str],
) -> dict[str, object]:
    numbers = _numbers(categories, first=1)
    annotations: list[dict[str, object]] = []
    for image_id, picture in enumerate(pictures, start=1):
        for name, x, y, width, height in picture.boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": numbers[name],
                    "bbox": [x, y, width, height],
                    "area": round(width * height, 2),
                    "iscrowd": 0,
                }
            )
    return {
        "info": {"description": "Sightline"},
        "licenses": [],
        "categories": [
            {"id": numbers[category.name], "name": category.name, "supercategory": category.kind}
            for category in categories
        ],
        "images": [
            {
                "id": image_id,
                "file_name": name_of(picture),
                "width": picture.width,
                "height": picture.height,
                "part_id": picture.part_id,
            }
            for image_id, picture in enumerate(pictures, start=1)
        ],
        "annotations": annotations,
    }


def _yolo(pictures: Sequence[SnapshotPicture], categories: Sequence[Category]) -> Iterator[File]:
    numbers = _numbers(categories, first=0)
    names = "".join(f"  {number}: {name}\n" for name, number in numbers.items())
    splits = "".join(f"{name}: images/{name}\n" for name in SPLIT_NAMES.values())
    yield "data.yaml", f"path: .\n{splits}names:\n{names}".encode()
    yield "classes.txt", "".join(f"{name}\n" for name in numbers).encode()
    for picture in pictures:
        lines = [
            f"{numbers[name]} {(x + width / 2) / picture.width:.6f} "
            f"{(y + height / 2) / picture.height:.6f} {width / picture.width:.6f} "
            f"{height / picture.height:.6f}\n"
            for name, x, y, width, height in picture.boxes
        ]
        stem = file_name(picture).rpartition(".")[0]
        yield f"labels/{SPLIT_NAMES[picture.split]}/{stem}.txt", "".join(lines).encode()


def _voc(pictures: Sequence[SnapshotPicture], categories: Sequence[Category]) -> Iterator[File]:
    del categories  # VOC has no list of them
    for split, name in SPLIT_NAMES.items():
        stems = [file_name(one).rpartition(".")[0] for one in pictures if one.split is split]
        yield f"ImageSets/Main/{name}.txt", "".join(f"{stem}\n" for stem in stems).encode()
    for picture in pictures:
        stem = file_name(picture).rpartition(".")[0]
        yield f"Annotations/{stem}.xml", _voc_document(picture)


def _voc_document(picture: SnapshotPicture) -> bytes:
    root = Xml.Element("annotation")
    _child(root, "folder", "JPEGImages")
    _child(root, "filename", file_name(picture))
    size = Xml.SubElement(root, "size")
    for tag, value in (("width", picture.width), ("height", picture.height), ("depth", 3)):
        _child(size, tag, value)
    _child(root, "segmented", 0)
    for name, x, y, width, height in picture.boxes:
        item = Xml.SubElement(root, "object")
        _child(item, "name", name)
        for tag in ("truncated", "difficult"):
            _child(item, tag, 0)
        box = Xml.SubElement(item, "bndbox")
        corners = {"xmin": x, "ymin": y, "xmax": x + width, "ymax": y + height}
        for tag, corner in corners.items():
            _child(box, tag, round(corner, 2))
    Xml.indent(root)
    return bytes(Xml.tostring(root, encoding="utf-8"))


def _child(parent: Xml.Element, tag: str, value: object) -> None:
    Xml.SubElement(parent, tag).text = str(value)


def _label_studio(
    pictures: Sequence[SnapshotPicture], categories: Sequence[Category]
) -> Iterator[File]:
    labels = "".join(f"    <Label value={quoteattr(one.name)}/>\n" for one in categories)
    yield (
        "label_config.xml",
        (
            '<View>\n  <Image name="image" value="$image"/>\n'
            f'  <RectangleLabels name="label" toName="image">\n{labels}'
            "  </RectangleLabels>\n</View>\n"
        ).encode(),
    )
    yield "tasks.json", _json([_task(picture) for picture in pictures])


def _task(picture: SnapshotPicture) -> dict[str, object]:
    results = [
        {
            "id": f"{picture.image_id[:8]}-{number}",
            "type": "rectanglelabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": picture.width,
            "original_height": picture.height,
            "image_rotation": 0,
            "value": {
                "x": 100 * x / picture.width,
                "y": 100 * y / picture.height,
                "width": 100 * width / picture.width,
                "height": 100 * height / picture.height,
                "rotation": 0,
                "rectanglelabels": [name],
            },
        }
        for number, (name, x, y, width, height) in enumerate(picture.boxes)
    ]
    return {
        "data": {
            "image": f"/data/local-files/?d=images/{file_name(picture)}",
            "part_id": picture.part_id,
            "split": picture.split.value,
            "sha256": picture.image_id,
        },
        "annotations": [{"result": results, "ground_truth": picture.split is Split.LOCKED}],
    }


def _numbers(categories: Sequence[Category], *, first: int) -> dict[str, int]:
    return {category.name: number for number, category in enumerate(categories, start=first)}


def _json(document: object) -> bytes:
    return json.dumps(document, indent=1).encode()


_WRITERS: Mapping[
    LabelFormat, Callable[[Sequence[SnapshotPicture], Sequence[Category]], Iterator[File]]
] = {
    LabelFormat.COCO: _coco,
    LabelFormat.YOLO: _yolo,
    LabelFormat.VOC: _voc,
    LabelFormat.LABEL_STUDIO: _label_studio,
    LabelFormat.FIFTYONE: _fiftyone,
}

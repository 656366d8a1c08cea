"""Pascal VOC's labels: an XML file a picture, boxes by their corners."""

from pathlib import Path, PurePosixPath, PureWindowsPath
from xml.etree import ElementTree

from models.contract.labels import (
    Annotation,
    LabelledPicture,
    LabelSet,
    Refusal,
    categories_of,
)
from models.contract.model import ContractError


def read_voc(labels: Path) -> LabelSet:
    """Read a folder of VOC labels; a broken file or box is listed, not fatal.

    Raises:
        ContractError: it is no folder.
    """
    if not labels.is_dir():
        raise ContractError(f"{labels} is not a folder of VOC .xml files")
    pictures: list[LabelledPicture] = []
    refused: list[Refusal] = []
    for path in sorted(labels.rglob("*.xml")):
        stem = path.relative_to(labels).with_suffix("").as_posix()
        try:
            root = ElementTree.parse(path).getroot()  # noqa: S314 - expat limits expansion
        except (ElementTree.ParseError, OSError, ValueError, LookupError):
            refused.append(Refusal(f"{stem}.xml", "broken label file"))
            continue
        boxes = [_box(entry) for entry in root.iter("object")]
        refused += [Refusal(f"{stem}.xml", box) for box in boxes if isinstance(box, str)]
        name = _file_name(root, stem)
        pictures.append(
            LabelledPicture(
                name,
                PurePosixPath(name).stem,
                tuple(box for box in boxes if isinstance(box, Annotation)),
                stem=stem,
                size=_size(root),
            )
        )
    names = sorted({box.category for picture in pictures for box in picture.annotations})
    return LabelSet(tuple(pictures), categories_of(names, labels), refused=tuple(refused))


def _box(entry: ElementTree.Element) -> Annotation | str:
    name = (entry.findtext("name") or "").strip()
    if not name:
        return "no category"
    try:
        x1, y1, x2, y2 = (
            float(entry.findtext(f"bndbox/{side}") or "")
            for side in ("xmin", "ymin", "xmax", "ymax")
        )
    except ValueError:
        return "no box"
    return Annotation(name, x1, y1, x2 - x1, y2 - y1)


def _file_name(root: ElementTree.Element, stem: str) -> str:
    """The picture's name; drawing tools write their own paths before it, Windows' among them."""
    given = (root.findtext("filename") or "").strip()
    if not given:
        return f"{stem}.jpg"
    return PureWindowsPath(given).name if "\\" in given or given.startswith("/") else given


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    try:
        size = int(root.findtext("size/width") or 0), int(root.findtext("size/height") or 0)
    except ValueError:
        return None
    return size if min(size) > 0 else None

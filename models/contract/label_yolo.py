"""YOLO's labels: a text file a picture, a line a box, names of the classes in a file of their own.

The names come from ``classes.txt`` or ``obj.names`` (one a line) or from ``data.yaml``, in the
folder of the labels or up to two above it.
"""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from models.contract.labels import (
    Annotation,
    LabelledPicture,
    LabelSet,
    Refusal,
    categories_of,
)
from models.contract.model import ContractError

NAME_FILES = ("classes.txt", "obj.names")
DATA_FILES = ("data.yaml", "dataset.yaml", "data.yml")
OTHER_TEXTS = frozenset({*NAME_FILES, "train.txt", "val.txt", "test.txt", "README.txt"})
NUM_BOX_VALUES = 4
MIN_POLYGON_VALUES = 6


def read_yolo(labels: Path) -> LabelSet:
    """Read a folder of YOLO labels; a bad line is listed, not fatal.

    Raises:
        ContractError: it is no folder, or nothing names its classes.
    """
    if not labels.is_dir():
        raise ContractError(f"{labels} is not a folder of YOLO .txt files")
    names = _names(labels)
    pictures: list[LabelledPicture] = []
    refused: list[Refusal] = []
    for path in sorted(labels.rglob("*.txt")):
        if path.name in OTHER_TEXTS:
            continue
        stem = path.relative_to(labels).with_suffix("").as_posix()
        try:
            lines = path.read_text(errors="replace").splitlines()
        except OSError:
            refused.append(Refusal(f"{stem}.txt", "unreadable label file"))
            continue
        boxes = []
        for number, line in enumerate(lines, 1):
            box = _box(line, names) if line.strip() else None
            if isinstance(box, str):
                refused.append(Refusal(f"{stem}.txt line {number}", box))
            elif box is not None:
                boxes.append(box)
        part = PurePosixPath(stem).name
        pictures.append(LabelledPicture(stem, part, tuple(boxes), stem=stem))
    categories = categories_of(dict.fromkeys(names), labels)
    return LabelSet(tuple(pictures), categories, is_relative=True, refused=tuple(refused))


def _box(line: str, names: Sequence[str]) -> Annotation | str:
    """Read ``class cx cy w h [score]``, or ``class x1 y1 x2 y2 x3 y3 …`` around a polygon.

    All but the class are in parts of the picture's size.
    """
    try:
        number, *values = (float(value) for value in line.split())
    except ValueError:
        return "no box"
    if not (number.is_integer() and 0 <= number < len(names)):
        return "unknown category"
    name = names[int(number)]
    if len(values) in (NUM_BOX_VALUES, NUM_BOX_VALUES + 1):
        center_x, center_y, width, height = values[:NUM_BOX_VALUES]
        return Annotation(name, center_x - width / 2, center_y - height / 2, width, height)
    if len(values) >= MIN_POLYGON_VALUES and len(values) % 2 == 0:
        x, y = min(values[::2]), min(values[1::2])
        return Annotation(name, x, y, max(values[::2]) - x, max(values[1::2]) - y)
    return "no box"


def _names(labels: Path) -> list[str]:
    folders = (labels, *labels.resolve().parents[:2])
    for folder in folders:
        try:
            for file in NAME_FILES:
                if (folder / file).is_file():
                    lines = (folder / file).read_text().splitlines()
                    return [line.strip() for line in lines if line.strip()]
            for file in DATA_FILES:
                found = (folder / file).is_file() and names_in_yaml((folder / file).read_text())
                if found:
                    return found
        except (OSError, UnicodeDecodeError) as error:
            raise ContractError(f"cannot read the class names in {folder}: {error}") from error
    raise ContractError(
        f"no {NAME_FILES[0]} or {DATA_FILES[0]} in {labels} or above it: it names the categories"
    )


def names_in_yaml(text: str) -> list[str]:
    """The entry ``names`` of a ``data.yaml`` in any of the ways in which it is written.

    That is a list or numbered names, in a line or below one another; no need for a YAML reader.
    """
    found = re.search(r"^names[ \t]*:[ \t]*(.*(?:\n(?:[ \t]+|-).*)*)", text, re.MULTILINE)
    if not found:
        return []
    body = re.sub(r"(^|\s)#.*", "", found.group(1)).strip()
    if body[:1] in ("[", "{"):
        entries = body.strip("[]{}").replace("\n", " ").split(",")
    else:
        entries = [line.strip().removeprefix("-") for line in body.splitlines()]
    entries = [entry.strip() for entry in entries if entry.strip()]
    numbered = [re.fullmatch(r"['\"]?(\d+)['\"]?\s*:\s*(.+)", entry) for entry in entries]
    if all(numbered):
        pairs = sorted((int(match[1]), match[2]) for match in numbered if match)
        if [number for number, _ in pairs] == list(range(len(pairs))):
            entries = [name for _, name in pairs]
    return [entry.strip().strip("'\"") for entry in entries]

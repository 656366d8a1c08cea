"""A dataset snapshot: immutable Parquet files and a manifest, at any URL.

Layout::

    manifest.json
    data/split=train/*.parquet
    data/split=val/*.parquet
    data/split=locked/*.parquet

A row is one picture. Splits stick to the part: all pictures of a part, in every snapshot ever
made, fall into the same split, so that no model is judged on a part that it was trained on.
"""

import hashlib
from collections.abc import Iterable
from enum import StrEnum

from pydantic import AwareDatetime, Field

from models.contract.bundle import Category
from models.contract.model import Frozen

MANIFEST_NAME = "manifest.json"
DATA_FOLDER = "data"

IMAGE_COLUMNS = (
    ("image_id", "string"),
    ("file_name", "string"),
    ("part_id", "string"),
    ("source", "string"),
    ("width", "int32"),
    ("height", "int32"),
    ("image", "binary"),
)
"""Columns of a row before its annotations; ``image`` is the encoded JPEG or PNG."""

ANNOTATION_FIELDS = (
    ("category", "string"),
    ("x", "float"),
    ("y", "float"),
    ("width", "float"),
    ("height", "float"),
)
"""Fields of the struct in the list column ``annotations``; COCO boxes in pixels."""


Box = tuple[str, float, float, float, float]
"""A labelled box: category, x, y, width, height in pixels."""


class Split(StrEnum):
    """What a picture is used for; ``locked`` only ever judges."""

    TRAIN = "train"
    VAL = "val"
    LOCKED = "locked"


class SplitCounts(Frozen):
    """Size of one split."""

    num_images: int = Field(ge=0)
    num_boxes: int = Field(ge=0)
    boxes_per_category: dict[str, int] = Field(default_factory=dict)


class SnapshotManifest(Frozen):
    """Identity and contents of a snapshot."""

    schema_version: str = Field(default="1.0", pattern=r"^1\.\d+$")
    snapshot_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    """First 16 hex digits of a SHA-256 over every row's image_id, split and annotations."""
    created_at: AwareDatetime
    categories: tuple[Category, ...]
    splits: dict[Split, SplitCounts]
    parent_snapshot_id: str | None = None
    source: str = ""
    refused: dict[str, int] = Field(default_factory=dict)
    """How many pictures or boxes the import left out, by reason."""
    notes: dict[str, int] = Field(default_factory=dict)
    """How many pictures it kept and remarked upon, by remark."""


def split_of(part_id: str, *, val_percent: int = 10, locked_percent: int = 20) -> Split:
    """Split of a part, decided by its identity alone."""
    bucket = int.from_bytes(hashlib.sha256(part_id.encode()).digest()[:4], "big") % 100
    if bucket < locked_percent:
        return Split.LOCKED
    if bucket < locked_percent + val_percent:
        return Split.VAL
    return Split.TRAIN


def snapshot_id_of(rows: Iterable[tuple[str, Split, Iterable[Box]]]) -> str:
    """Identity of a snapshot: a hash over image_id, split and boxes of every row.

    Boxes count to a hundredth of a pixel, which survives their storage as 32-bit floats.
    """
    digest = hashlib.sha256()
    for image_id, split, labels in sorted(rows, key=lambda row: row[0]):
        boxes = sorted((name, *(round(value, 2) for value in box)) for name, *box in labels)
        digest.update(f"{image_id} {split.value} {boxes}\n".encode())
    return digest.hexdigest()[:16]

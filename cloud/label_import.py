"""Labels from other tools: onto pictures that are here, and new pictures with their labels."""

import hashlib
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select

from cloud import audit
from cloud.db.session import Database
from cloud.db.tables import Image, ReviewStatus
from cloud.errors import CloudError, ImageRefusedError, InvalidError
from cloud.image_store import ImageStore
from cloud.labeling import Labeling
from cloud.pictures import check_picture, measure
from cloud.review_items import LabelledBox
from models.contract.label_formats import read_labels
from models.contract.labels import Annotation, LabelledPicture, LabelSet
from models.contract.model import ContractError

ORIGIN = "import/labels/files/upload"
"""Cell of pictures that came in with labels."""
NAMESPACE = uuid.UUID("5f0a2c1e-8d0b-4f55-9a53-6f3f5c1c9b7e")
SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
HASH_LETTERS = 16
"""Of a picture's SHA-256, at the end of the name that an export gives it."""
MAX_REASONS = 50


@dataclass(frozen=True, slots=True)
class ImportOutcome:
    """What became of an import.

    Attributes:
        num_labelled: Pictures that were here and have a label now.
        num_added: Pictures that came with the labels.
        num_unchanged: Pictures that said the same already.
        categories: That were not known before.
        refused: Pictures or boxes that were left out, by reason.
    """

    num_labelled: int
    num_added: int
    num_unchanged: int
    categories: tuple[str, ...]
    refused: dict[str, int]


class LabelImport:
    """Reads label files of other tools into the review.

    Args:
        database: Holds pictures.
        images: Takes new pictures.
        labeling: Takes their labels, by the same rules as from the page.
        max_pixels: Of a picture.
        now: The wall clock.
    """

    def __init__(
        self,
        database: Database,
        *,
        images: ImageStore,
        labeling: Labeling,
        max_pixels: int = 50_000_000,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._images = images
        self._labeling = labeling
        self._max_pixels = max_pixels
        self._now = now

    def take(self, folder: Path, labels_format: str, *, actor: str) -> ImportOutcome:
        """Take in labels, and the pictures that lie beside them.

        A picture is known by its content, or, where only labels come, by the name that an export
        gave it. A label that says what is said already changes nothing.

        Args:
            folder: With the label files, and perhaps the pictures, anywhere below it.
            labels_format: ``coco``, ``yolo`` or ``voc``.
            actor: Who stands for the labels.

        Raises:
            InvalidError: there are no labels in this format.
        """
        files = {path.name: path for path in folder.rglob("*") if path.suffix in SUFFIXES}
        counts: Counter[str] = Counter()
        refused: Counter[str] = Counter()
        new_categories: list[str] = []
        for labels in _label_sets(folder, labels_format):
            refused.update(refusal.reason for refusal in labels.refused)
            new_categories += self._add_categories(labels, actor)
            for picture in labels.pictures:
                try:
                    counts[self._take_picture(picture, labels, files, actor)] += 1
                except CloudError as error:
                    refused[str(error)] += 1
        outcome = ImportOutcome(
            num_labelled=counts["labelled"],
            num_added=counts["added"],
            num_unchanged=counts["unchanged"],
            categories=tuple(new_categories),
            refused=dict(refused.most_common(MAX_REASONS)),
        )
        with self._database.write() as session:
            audit.record(
                session,
                actor,
                "import labels",
                labels_format,
                labelled=outcome.num_labelled,
                added=outcome.num_added,
            )
        return outcome

    def _add_categories(self, labels: LabelSet, actor: str) -> list[str]:
        known = {category.name for category in self._labeling.categories()}
        new = [category for category in labels.categories if category.name not in known]
        for category in new:
            self._labeling.add_category(category.name, category.kind, actor=actor)
        return [category.name for category in new]

    def _take_picture(
        self, picture: LabelledPicture, labels: LabelSet, files: dict[str, Path], actor: str
    ) -> str:
        path = _file_of(picture, files)
        sha256 = self._known(picture) if path is None else None
        is_new = False
        if path is not None:
            sha256, is_new = self._store(path.read_bytes(), picture)
        if sha256 is None:
            raise InvalidError("picture is neither here nor in the archive")
        item = self._labeling.item(sha256)
        boxes = [
            _box(annotation, item.image, is_relative=labels.is_relative)
            for annotation in picture.annotations
        ]
        if item.image.status is ReviewStatus.LABELLED and set(item.annotations) == set(boxes):
            return "unchanged"
        self._labeling.save(
            sha256,
            decision=ReviewStatus.LABELLED,
            boxes=boxes,
            reviewer=actor,
            revision=item.image.revision,
        )
        return "added" if is_new else "labelled"

    def _known(self, picture: LabelledPicture) -> str | None:
        stem = picture.file_name.rpartition("/")[2].rpartition(".")[0] or picture.file_name
        tail = stem.rpartition("-")[2].lower()
        if len(tail) != HASH_LETTERS or not set(tail) <= set("0123456789abcdef"):
            return None
        query = select(Image.sha256).where(Image.sha256.between(tail, tail + "g"))
        with self._database.read() as session:
            return session.scalars(query.limit(1)).one_or_none()

    def _store(self, content: bytes, picture: LabelledPicture) -> tuple[str, bool]:
        sha256 = hashlib.sha256(content).hexdigest()
        with self._database.read() as session:
            if session.get(Image, sha256) is not None:
                return sha256, False
        try:
            info = measure(content)
            check_picture(content, info, max_pixels=self._max_pixels)
        except ImageRefusedError as error:
            raise InvalidError(str(error)) from error
        self._images.put(content)
        now = self._now()
        with self._database.write() as session:
            session.add(
                Image(
                    sha256=sha256,
                    content_type=info.content_type,
                    num_bytes=len(content),
                    width_px=info.width_px,
                    height_px=info.height_px,
                    cell=ORIGIN,
                    boot_id=uuid.uuid5(NAMESPACE, sha256),
                    seq=1,
                    created_at=now,
                    received_at=now,
                    result_id=uuid.uuid5(NAMESPACE, f"result {sha256}"),
                    part_id=_plain(picture.part_id) or sha256[:16],
                    view="main",
                    hard_reasons=[],
                    status=ReviewStatus.PENDING,
                    revision=0,
                )
            )
        return sha256, True


def _label_sets(folder: Path, labels_format: str) -> Iterator[LabelSet]:
    places = [folder]
    if labels_format == "coco":
        places = sorted(path for path in folder.rglob("*.json") if not path.name.startswith("."))
        if not places:
            raise InvalidError("there is no COCO file (*.json) in the archive")
    elif labels_format == "yolo":
        texts = [path.parent for path in folder.rglob("*.txt") if path.name != "classes.txt"]
        places = sorted(set(texts)) or [folder]
    problems = []
    num_found = 0
    for place in places:
        try:
            found = read_labels(labels_format, place)
        except ContractError as error:
            problems.append(str(error).replace(f"{folder}/", ""))
            continue
        num_found += 1
        yield found
    if not num_found:
        raise InvalidError(problems[0] if problems else "there are no labels in the archive")


def _plain(name: str) -> str:
    return "".join(letter for letter in name if letter.isprintable()).strip()[:64]


def _file_of(picture: LabelledPicture, files: dict[str, Path]) -> Path | None:
    name = picture.file_name.rpartition("/")[2]
    if name in files:
        return files[name]
    stem = (picture.stem or name).rpartition("/")[2]
    return next((files[stem + suffix] for suffix in SUFFIXES if stem + suffix in files), None)


def _box(annotation: Annotation, image: Image, *, is_relative: bool) -> LabelledBox:
    scale_x, scale_y = (image.width_px, image.height_px) if is_relative else (1.0, 1.0)
    sides = (
        annotation.x * scale_x,
        annotation.y * scale_y,
        annotation.width * scale_x,
        annotation.height * scale_y,
    )
    x, y, width, height = (round(side, 2) for side in sides)
    return LabelledBox(annotation.category, (x, y, width, height))

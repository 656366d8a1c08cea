"""Where the parts of a cell come from: the renderer, or a folder of photographs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from models.contract.messages import Verdict
from simulators.dataset import jpeg_bytes
from simulators.drift import DriftSchedule
from simulators.errors import SimulatorError
from simulators.parts import Kind, SceneSettings, choose_defects, draw_part, part_rng, render
from simulators.truth import TruePart


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedPart:
    """A part, its picture, and the truth about it."""

    truth: TruePart
    picture: bytes
    suffix: str = "jpg"


class PartSource(Protocol):
    """Gives one part after the other."""

    def part(self, index: int) -> SimulatedPart:
        """The part with this index; the same index gives the same part."""
        ...


@dataclass(frozen=True, slots=True)
class RenderedSource:
    """Rendered cover plates that follow a drift schedule.

    Attributes:
        cell: Address of the cell that will see them.
        prefix: Start of every part id; unique for each cell.
        seed: The same seed gives the same parts.
        schedule: How the world changes.
        width_px: Width of the pictures.
        height_px: Height of the pictures.
    """

    cell: str
    prefix: str
    seed: int
    schedule: DriftSchedule
    width_px: int = 640
    height_px: int = 512

    def part(self, index: int) -> SimulatedPart:
        """Draw the part and photograph it."""
        rng = part_rng(self.seed, index)
        conditions = self.schedule.at(index)
        defects: tuple[Kind, ...] = ()
        for kinds, rate in conditions.defects:
            defects += choose_defects(rng, rate=rate, kinds=kinds)
        part_id = f"{self.prefix}-{index:06d}"
        scene = SceneSettings(
            width_px=self.width_px,
            height_px=self.height_px,
            variant=conditions.variant,
            lamp_ageing=conditions.lamp_ageing,
        )
        rendered = render(draw_part(rng, part_id=part_id, defects=defects), scene)
        boxes = tuple((box.category.value, box.bbox) for box in rendered.annotations)
        actual = Verdict.NOT_OK if rendered.part.defects else Verdict.OK
        return SimulatedPart(
            truth=TruePart(part_id, self.cell, boxes, actual), picture=jpeg_bytes(rendered.image)
        )


@dataclass(frozen=True, slots=True)
class Photo:
    """One labelled photograph."""

    path: Path
    size_px: tuple[int, int]
    boxes: tuple[tuple[str, tuple[float, float, float, float]], ...]
    part_id: str


@dataclass(frozen=True, slots=True)
class PhotoAlbum:
    """Labelled photographs of one COCO file."""

    photos: tuple[Photo, ...]
    categories: tuple[str, ...]

    @classmethod
    def read(cls, images: Path, labels: Path) -> "PhotoAlbum":
        """Read a COCO file.

        Raises:
            SimulatorError: the file is missing or not COCO, or a picture is missing.
        """
        try:
            coco = json.loads(labels.read_text(encoding="utf-8"))
            names = {category["id"]: category["name"] for category in coco["categories"]}
            boxes: dict[int, list[tuple[str, tuple[float, float, float, float]]]] = {}
            for box in coco["annotations"]:
                x, y, width, height = map(float, box["bbox"])
                entry = (names[box["category_id"]], (x, y, width, height))
                boxes.setdefault(box["image_id"], []).append(entry)
            photos = tuple(
                _photo(images, image, tuple(boxes.get(image["id"], ()))) for image in coco["images"]
            )
        except OSError as error:
            raise SimulatorError(f"labels {labels} cannot be read: {error.strerror}") from error
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
            raise SimulatorError(f"{labels} is not a COCO file ({error!r})") from error
        if not photos:
            raise SimulatorError(f"{labels} lists no pictures")
        for photo in photos:
            if not photo.path.is_file():
                raise SimulatorError(f"picture {photo.path} of {labels} does not exist")
        return cls(photos, tuple(names[key] for key in sorted(names)))


def _photo(
    images: Path,
    record: dict[str, Any],
    boxes: tuple[tuple[str, tuple[float, float, float, float]], ...],
) -> Photo:
    return Photo(
        path=images / record["file_name"],
        size_px=(int(record["width"]), int(record["height"])),
        boxes=boxes,
        part_id=str(record.get("part_id", Path(record["file_name"]).stem)),
    )


@dataclass(frozen=True, slots=True)
class PhotoSource:
    """Photographs that go round; the same part comes by again under the same name and a lap.

    Attributes:
        cell: Address of the cell that will see them.
        photos: What goes round.
        defects: Categories whose presence makes a part bad.
        prefix: Start of every part id.
    """

    cell: str
    photos: Sequence[Photo]
    defects: frozenset[str]
    prefix: str

    def part(self, index: int) -> SimulatedPart:
        """The photograph whose turn it is."""
        lap, place = divmod(index, len(self.photos))
        photo = self.photos[place]
        is_bad = any(name in self.defects for name, _ in photo.boxes)
        part_id = f"{self.prefix}-{photo.part_id}"[:56] + (f"-{lap + 1}" if lap else "")
        truth = TruePart(part_id, self.cell, photo.boxes, Verdict.NOT_OK if is_bad else Verdict.OK)
        try:
            picture = photo.path.read_bytes()
        except OSError as error:
            raise SimulatorError(
                f"picture {photo.path} cannot be read: {error.strerror}"
            ) from error
        return SimulatedPart(truth, picture, photo.path.suffix.lstrip(".").lower() or "jpg")

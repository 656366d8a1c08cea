"""Real photographs on the lines."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.contract.bundle import MANIFEST_NAME
from models.contract.recipe import Recipe
from simulators.demo.plan import DemoPlan, Photographs
from simulators.demo.processes import Supervisor, program
from simulators.demo.workshop import Workshop
from simulators.demo.world import existing_bundle, import_snapshot
from simulators.errors import SimulatorError
from simulators.recipes import photo_recipe
from simulators.sources import PartSource, Photo, PhotoAlbum, PhotoSource

DEFECT_WORDS = ("missing", "defect", "scratch", "broken", "wrong", "torn", "skewed", "loose")
BASE_SALT = "base"


@dataclass(frozen=True, slots=True)
class PhotoWorld:
    """Photographs: some labelled from the beginning, the others come down the lines."""

    plan: DemoPlan
    photographs: Photographs
    album: PhotoAlbum

    @classmethod
    def read(cls, plan: DemoPlan, photographs: Photographs) -> "PhotoWorld":
        """Read the pictures' labels.

        Raises:
            SimulatorError: they cannot be read, or there are too few.
        """
        album = PhotoAlbum.read(photographs.images, photographs.labels)
        world = cls(plan, photographs, album)
        if len(world.later) < len(plan.cells):
            raise SimulatorError(
                f"{photographs.labels} has only {len(album.photos)} pictures: give more"
            )
        unknown = set(photographs.defects) - set(album.categories)
        if unknown:
            raise SimulatorError(
                f"unknown class {sorted(unknown)[0]!r}: {photographs.labels}"
                f" has {', '.join(album.categories)}"
            )
        return world

    @property
    def defects(self) -> tuple[str, ...]:
        """As given, else those whose names say so."""
        if self.photographs.defects:
            return self.photographs.defects
        named = (c for c in self.album.categories if any(word in c for word in DEFECT_WORDS))
        return tuple(named)

    @property
    def objects(self) -> tuple[str, ...]:
        """All that are no defects."""
        return tuple(name for name in self.album.categories if name not in self.defects)

    @property
    def emerging(self) -> tuple[str, ...]:
        """None: the first model has seen every category, on few pictures."""
        return ()

    @property
    def recipe(self) -> Recipe:
        """Defects are forbidden; nothing is known about the layout."""
        return photo_recipe("photos", self.album.photos[0].size_px, self.objects, self.defects)

    @property
    def early(self) -> tuple[Photo, ...]:
        """Labelled from the beginning."""
        return tuple(photo for photo in self.album.photos if self._is_early(photo))

    @property
    def later(self) -> tuple[Photo, ...]:
        """Come down the lines."""
        return tuple(photo for photo in self.album.photos if not self._is_early(photo))

    def sources(self) -> list[PartSource]:
        """The later pictures, dealt out to the cells."""
        cells = self.plan.cells
        return [
            PhotoSource(cell, self.later[number :: len(cells)], frozenset(self.defects), "P")
            for number, cell in enumerate(cells)
        ]

    def first_bundle(self, supervisor: Supervisor, workshop: Workshop) -> Path:
        """The released baseline, fitted to the early pictures."""
        bundle = workshop.root / "first" / "bundle"
        if not (bundle / MANIFEST_NAME).exists():
            self.make_base(supervisor, workshop)
            supervisor.run(
                "first-fit",
                program(
                    "sightline-train",
                    "run",
                    "--snapshot",
                    str(workshop.base_snapshot),
                    "--bundle",
                    str(bundle),
                    "--run",
                    str(workshop.root / "first" / "run"),
                    "--init",
                    str(existing_bundle(self.plan.bundle)),
                    "--name",
                    "photos",
                    "--budget",
                    self.photographs.fit_budget,
                    "--master",
                    self.plan.learning.master,
                    "--workers",
                    str(self.plan.learning.workers),
                    *self.plan.learning.extra_arguments,
                ),
            )
        return existing_bundle(bundle)

    def make_base(self, supervisor: Supervisor, workshop: Workshop) -> None:
        """Import the early pictures."""
        labels = workshop.base / "coco.json"
        write_coco(labels, self.photographs.images, self.early, self.album.categories)
        kinds = ("--objects", ",".join(self.objects), "--defects", ",".join(self.defects))
        import_snapshot(supervisor, workshop, self.photographs.images, labels, kinds)

    def _is_early(self, photo: Photo) -> bool:
        digest = hashlib.sha256(f"{BASE_SALT}{photo.part_id}".encode()).digest()
        return digest[0] / 256 < self.photographs.base_ratio


def write_coco(
    path: Path, images_dir: Path, photos: Sequence[Photo], categories: Sequence[str]
) -> None:
    """Write the labels of some photographs; file names are relative to their folder."""
    numbers = {name: number for number, name in enumerate(categories, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, photo in enumerate(photos, start=1):
        images.append(
            {
                "id": image_id,
                "file_name": photo.path.relative_to(images_dir).as_posix(),
                "width": photo.size_px[0],
                "height": photo.size_px[1],
                "part_id": photo.part_id,
            }
        )
        for name, bbox in photo.boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": numbers[name],
                    "bbox": list(bbox),
                    "area": bbox[2] * bbox[3],
                    "iscrowd": 0,
                }
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    listed = [{"id": number, "name": name} for name, number in numbers.items()]
    document = {"images": images, "annotations": annotations, "categories": listed}
    path.write_text(json.dumps(document), encoding="utf-8")

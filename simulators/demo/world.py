"""What lies under the cameras: rendered plates whose defects change, or real photographs."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from models.contract.bundle import MANIFEST_NAME
from models.contract.recipe import Recipe
from simulators.demo.plan import DemoPlan, Photographs
from simulators.demo.processes import Supervisor, program
from simulators.demo.workshop import Workshop
from simulators.drift import DriftSchedule
from simulators.errors import SimulatorError
from simulators.recipes import photo_recipe, plate_recipe
from simulators.sources import PartSource, Photo, PhotoAlbum, PhotoSource, RenderedSource

NICE = 10
DEFECT_WORDS = ("missing", "defect", "scratch", "broken", "wrong", "torn", "skewed", "loose")
BASE_SALT = "base"


class World(Protocol):
    """One kind of parts."""

    @property
    def defects(self) -> tuple[str, ...]:
        """Categories that make a part bad."""
        ...

    @property
    def emerging(self) -> tuple[str, ...]:
        """Categories that the first model does not know."""
        ...

    @property
    def recipe(self) -> Recipe:
        """What a good part looks like."""
        ...

    @property
    def recipe_categories(self) -> frozenset[str]:
        """What a model must know to work with the recipe."""
        ...

    def sources(self) -> list[PartSource]:
        """Parts of each cell, in the plan's order."""
        ...

    def first_bundle(self, supervisor: Supervisor, workshop: Workshop) -> Path:
        """The model that the cells begin with; made now where it has to be."""
        ...

    def make_base(self, supervisor: Supervisor, workshop: Workshop) -> None:
        """Import the pictures that are labelled from the beginning, if that was not done yet."""
        ...


@dataclass(frozen=True, slots=True)
class RenderedWorld:
    """Cover plates; on the last line new defects begin after a while."""

    plan: DemoPlan

    @property
    def defects(self) -> tuple[str, ...]:
        """Known and emerging ones."""
        return tuple(str(kind) for kind in (*self.plan.known, *self.plan.emerging))

    @property
    def emerging(self) -> tuple[str, ...]:
        """Those that begin later."""
        return tuple(str(kind) for kind in self.plan.emerging)

    @property
    def recipe(self) -> Recipe:
        """Every object in its zone, no known defect."""
        return plate_recipe(forbidden=[str(kind) for kind in self.plan.known])

    @property
    def recipe_categories(self) -> frozenset[str]:
        """What a model must know."""
        return self.recipe.categories

    def sources(self) -> list[PartSource]:
        """One rendered source a cell."""
        plan = self.plan
        sources: list[PartSource] = []
        for number, cell in enumerate(plan.cells, start=1):
            is_last = number == len(plan.cells)
            schedule = DriftSchedule(
                known=plan.known,
                known_rate=plan.known_rate,
                emerging=plan.emerging if is_last else (),
                emerging_from=plan.emerging_from,
                emerging_rate=plan.emerging_rate,
            )
            seed = plan.seed * 1000 + number
            sources.append(RenderedSource(cell, f"S{plan.seed}L{number}", seed, schedule))
        return sources

    def first_bundle(self, supervisor: Supervisor, workshop: Workshop) -> Path:
        """The released baseline."""
        del supervisor, workshop
        return existing_bundle(self.plan.bundle)

    def make_base(self, supervisor: Supervisor, workshop: Workshop) -> None:
        """Render and import them."""
        learning = self.plan.learning
        labels = workshop.base / "coco.json"
        if not labels.exists():
            supervisor.run(
                "dataset",
                program(
                    "sightline-sim",
                    "dataset",
                    str(workshop.base),
                    "--count",
                    str(learning.base_pictures),
                    "--seed",
                    str(learning.base_seed),
                    "--defects",
                    ",".join(str(kind) for kind in self.plan.known),
                ),
                nice=NICE,
            )
        import_snapshot(supervisor, workshop, workshop.base / "images", labels, ())


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
    def recipe_categories(self) -> frozenset[str]:
        """What a model must know."""
        return self.recipe.categories

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


def world_of(plan: DemoPlan) -> World:
    """The world that a plan asks for.

    Raises:
        SimulatorError: the photographs cannot be read.
    """
    if plan.photographs is None:
        return RenderedWorld(plan)
    return PhotoWorld.read(plan, plan.photographs)


def existing_bundle(folder: Path) -> Path:
    """The folder, if it is a bundle.

    Raises:
        SimulatorError: it is not.
    """
    if not (folder / MANIFEST_NAME).is_file():
        raise SimulatorError(f"no model bundle in {folder}: give another with --bundle")
    return folder.resolve()


def import_snapshot(
    supervisor: Supervisor,
    workshop: Workshop,
    images: Path,
    labels: Path,
    kinds: Sequence[str],
) -> None:
    """Import labelled pictures on Spark, if that was not done yet."""
    if (workshop.base_snapshot / MANIFEST_NAME).exists():
        return
    supervisor.run(
        "import",
        program(
            "sightline-train",
            "import",
            "--format",
            "coco",
            "--images",
            str(images.resolve()),
            "--labels",
            str(labels),
            "--snapshot",
            str(workshop.base_snapshot),
            "--master",
            workshop.plan.learning.master,
            *kinds,
        ),
        nice=NICE,
    )


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

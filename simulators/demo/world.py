"""What lies under the cameras, seen by the demonstration, and what every kind of it needs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from models.contract.bundle import MANIFEST_NAME
from models.contract.recipe import Recipe
from simulators.demo.processes import Supervisor, program
from simulators.demo.workshop import Workshop
from simulators.errors import SimulatorError
from simulators.sources import PartSource

NICE = 10
"""Work that is not urgent leaves the processor to the cells."""


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

    def sources(self) -> list[PartSource]:
        """Parts of each cell, in the plan's order."""
        ...

    def first_bundle(self, supervisor: Supervisor, workshop: Workshop) -> Path:
        """The model that the cells begin with; made now where it has to be."""
        ...

    def make_base(self, supervisor: Supervisor, workshop: Workshop) -> None:
        """Import the pictures that are labelled from the beginning, if that was not done yet."""
        ...


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

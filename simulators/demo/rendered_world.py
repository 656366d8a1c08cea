"""Rendered cover plates on the lines."""

from dataclasses import dataclass
from pathlib import Path

from models.contract.recipe import Recipe
from simulators.demo.plan import DemoPlan
from simulators.demo.processes import Supervisor, program
from simulators.demo.workshop import Workshop
from simulators.demo.world import NICE, existing_bundle, import_snapshot
from simulators.drift import DriftSchedule
from simulators.recipes import plate_recipe
from simulators.sources import PartSource, RenderedSource


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

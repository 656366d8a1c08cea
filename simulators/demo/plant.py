"""The simulated half of the demonstration: lines, PLCs, and the person who labels."""

import threading
import time
from collections import Counter
from collections.abc import Sequence

from models.contract.bundle import ModelRef
from models.contract.messages import Reported, Verdict
from models.contract.model import ContractError
from models.contract.topics import CellAddress, Channel
from simulators.broker_link import BrokerAddress, BrokerLink
from simulators.camera import SpoolCamera
from simulators.cell import CellCycle, SimulatedCell
from simulators.cloud_client import CloudClient
from simulators.demo.plan import DemoPlan
from simulators.demo.story import Teller
from simulators.demo.swap_watch import SwapWatch
from simulators.demo.workshop import Workshop
from simulators.demo.world import World
from simulators.errors import SimulatorError
from simulators.handshake import PlcStatistics
from simulators.line import Line
from simulators.oracle import Hand, Oracle
from simulators.plc import Plc, PlcSettings
from simulators.prefetch import PrefetchedSource, RenderingProcess
from simulators.truth import TruthBook

NUM_TOLD = 3
"""Escapes that are told one by one; later ones are only counted."""


class Plant:
    """Lines with their PLCs and an oracle, and what they experienced.

    Args:
        plan: The demonstration.
        world: What lies under the cameras.
        workshop: Where pictures and truth go.
        cloud: Where the oracle labels.
        teller: Told of what a visitor would see.
    """

    def __init__(
        self, plan: DemoPlan, world: World, workshop: Workshop, cloud: CloudClient, teller: Teller
    ) -> None:
        self._plan = plan
        self._world = world
        self._teller = teller
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.truth = TruthBook(workshop.truth)
        self.swaps = SwapWatch()
        self.first_verdict_at: float | None = None
        self.failure: SimulatorError | None = None
        self.num_parts = 0
        self.first_model: dict[str, ModelRef] = {}
        self.last_model: dict[str, ModelRef] = {}
        self.parts_on_model: Counter[tuple[str, str]] = Counter()
        self.verdicts: dict[str, Counter[str]] = {}
        self._told: Counter[str] = Counter()
        broker = BrokerAddress("127.0.0.1", workshop.broker_port)
        self._rendering = RenderingProcess()
        self._line = Line(
            [
                SimulatedCell(
                    PrefetchedSource(source, self._rendering),
                    SpoolCamera(files.spool),
                    Plc(files.address, broker, PlcSettings(recipe_id=world.recipe.recipe_id)),
                    self.truth,
                    cadence_s=plan.cadence_s,
                    found_downstream=plan.found_downstream,
                    on_cycle=self._on_cycle,
                    seed=plan.seed,
                )
                for source, files in zip(world.sources(), workshop.cells, strict=True)
            ],
            on_failure=self._on_failure,
        )
        self._reports = BrokerLink(
            broker,
            "demo-reports",
            subscriptions=[CellAddress.parse(c).topic(Channel.REPORTED) for c in plan.cells],
            on_message=self._on_reported,
        )
        self.oracle = Oracle(
            cloud,
            self.truth,
            defects=world.defects,
            hand=Hand(seconds_per_label=plan.learning.seconds_per_label),
            on_label=self._on_label,
            seed=plan.seed,
        )
        self._labelling = threading.Thread(target=self._label, name="oracle", daemon=True)

    def start(self) -> None:
        """Begin to send parts.

        Raises:
            SimulatorError: the broker does not answer.
        """
        self._reports.start()
        self._line.start()

    def start_labelling(self) -> None:
        """Somebody sits down before the review queue."""
        self._labelling.start()

    def stop_triggers(self) -> None:
        """Let the parts under way finish; PLCs stay connected."""
        self._line.stop_triggers()

    def stop(self) -> None:
        """End everything."""
        self._stop.set()
        self._line.stop()
        self._reports.stop()
        if self._labelling.is_alive():
            self._labelling.join(timeout=5)
        self._rendering.close()
        self.truth.close()

    def statistics(self) -> dict[str, PlcStatistics]:
        """What each PLC saw."""
        return {str(cell.plc.cell): cell.plc.statistics() for cell in self._line.cells}

    def missed_during_swap(self) -> int:
        """Triggers without an inspection while a cell changed its model."""
        return sum(
            self.swaps.missed(str(cell.plc.cell), cell.plc.exchanges()) for cell in self._line.cells
        )

    def _on_failure(self, error: SimulatorError) -> None:
        self.failure = error

    def _label(self) -> None:
        try:
            self.oracle.run(self._stop)
        except SimulatorError as error:
            self.failure = error

    def _on_cycle(self, cycle: CellCycle) -> None:
        result = cycle.exchange.result
        with self._lock:
            self.num_parts += 1
            if result is None:
                return
            cell = cycle.truth.cell
            if self.first_verdict_at is None:
                self.first_verdict_at = time.monotonic()
            if result.model is not None:
                self._note_model(cell, result.model, cycle)
        self._tell_first(cycle)
        self._tell_emerging(cycle)

    def _note_model(self, cell: str, model: ModelRef, cycle: CellCycle) -> None:
        self.first_model.setdefault(cell, model)
        before = self.last_model.get(cell)
        self.last_model[cell] = model
        self.parts_on_model[cell, model.bundle_id] += 1
        seen = self.verdicts.setdefault(model.bundle_id, Counter())
        seen["parts"] += 1
        seen["escapes"] += cycle.is_escape
        seen["false_rejects"] += cycle.is_false_reject
        seen["not_decidable"] += cycle.verdict is Verdict.NOT_DECIDABLE
        if before is not None and before.bundle_id != model.bundle_id:
            self._teller.say(
                f"{short(cell)}: part {cycle.truth.part_id} is the first on release"
                f" {model.release} ({model.bundle_id[:8]})",
                style="bold green",
            )

    def _tell_first(self, cycle: CellCycle) -> None:
        cell = cycle.truth.cell
        if self._told[cell] == 0:
            self._told[cell] += 1
            latency = cycle.exchange.latency_ms or 0.0
            self._teller.say(
                f"{short(cell)}: first verdict {cycle.verdict}, {latency:.1f} ms after the trigger",
                style="green",
            )

    def _tell_emerging(self, cycle: CellCycle) -> None:
        new = sorted({name for name, _ in cycle.truth.boxes} & set(self._world.emerging))
        for name in new:
            self._told[name] += 1
            if self._told[name] == 1:
                self._teller.say(
                    f"{short(cycle.truth.cell)}: {name} begins to appear; the model has never"
                    f" seen one. It says {cycle.verdict}",
                    style="yellow",
                )
        if cycle.is_escape and new:
            self._told["escapes"] += 1
            if self._told["escapes"] <= NUM_TOLD:
                self._teller.say(
                    f"{short(cycle.truth.cell)}: {cycle.truth.part_id} with {', '.join(new)}"
                    " passed as OK: an escape",
                    style="red",
                )

    def _on_label(self, part_id: str, categories: Sequence[str]) -> None:
        for name in sorted(set(categories) & set(self._world.emerging)):
            key = f"label {name}"
            self._told[key] += 1
            if self._told[key] == 1:
                self._teller.say(f"review: somebody labels the first {name} ({part_id})")

    def _on_reported(self, _topic: str, payload: bytes) -> None:
        try:
            report = Reported.from_bytes(payload)
        except ContractError:
            return  # the station's business; the report tells if nothing arrives
        before = self.swaps.on_reported(report, time.monotonic_ns())
        if before is not None and before.phase != report.phase and report.desired is not None:
            note = f": {report.error}" if report.error else ""
            self._teller.say(
                f"{short(report.cell)}: release {report.desired.release} {report.phase}{note}"
            )


def short(cell: str) -> str:
    """The last two levels of an address."""
    return "/".join(cell.split("/")[-2:])

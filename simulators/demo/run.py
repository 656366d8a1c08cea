"""One demonstration from the first process to the report."""

import json
import sys
import threading
import time
from pathlib import Path

from models.contract.bundle import ModelRef
from simulators.cloud_client import CloudRefusedError, CloudUnreachableError, Json
from simulators.demo import ledger
from simulators.demo.learning_watch import LearningWatch
from simulators.demo.photo_world import PhotoWorld
from simulators.demo.plan import DemoPlan
from simulators.demo.processes import StoppedError, last_words
from simulators.demo.rendered_world import RenderedWorld
from simulators.demo.report import Facts, RecordCounts, build_report, unmet
from simulators.demo.stage import Stage, edge_name
from simulators.demo.story import SilentTeller, Teller
from simulators.demo.workshop import Workshop
from simulators.demo.world import World
from simulators.errors import SimulatorError
from simulators.ports import is_free

POLL_S = 1.0
DRAIN_TIMEOUT_S = 90.0
NO_VERDICT_TIMEOUT_S = 240.0
SWITCH_INTERVAL_S = 0.0005
"""Threads give way this often; Python's 5 ms would show in the PLC's figures."""


class UnmetError(SimulatorError):
    """The demonstration ran to its end but missed a target; the report has been written."""

    def __init__(self, misses: list[str], report: Json) -> None:
        super().__init__("; ".join(misses))
        self.report = report


def world_of(plan: DemoPlan) -> World:
    """The world that a plan asks for.

    Raises:
        SimulatorError: the photographs cannot be read.
    """
    if plan.photographs is None:
        return RenderedWorld(plan)
    return PhotoWorld.read(plan, plan.photographs)


def run_demo(
    plan: DemoPlan, *, teller: Teller | None = None, stop: threading.Event | None = None
) -> Json:
    """Run the whole loop; with ``plan.once`` until one turn is complete, else until ``stop``.

    Every process is gone when this returns or raises.

    Returns:
        The report.

    Raises:
        UnmetError: a target was missed.
        StoppedError: ``stop`` was set before a turn was complete.
        SimulatorError: it cannot run; one line that says what to do.
    """
    world = world_of(plan)
    if not is_free(plan.port):
        raise SimulatorError(f"port {plan.port} is taken: give another with --port")
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    teller, stop = teller or SilentTeller(), stop or threading.Event()
    workshop = Workshop(plan)
    try:
        stage = Stage(plan, world, workshop, teller, stop)
        try:
            stage.start()
            return _Demo(plan, workshop, stage, teller, stop).run()
        finally:
            stage.end()
            teller.close()
    finally:
        workshop.close()


class _Demo:
    def __init__(
        self,
        plan: DemoPlan,
        workshop: Workshop,
        stage: Stage,
        teller: Teller,
        stop: threading.Event,
    ) -> None:
        self._plan = plan
        self._workshop = workshop
        self._stage = stage
        self._teller = teller
        self._stop = stop
        self._watch = LearningWatch(stage.cloud, teller)

    def run(self) -> Json:
        """One whole turn, or turn after turn."""
        is_reported = False
        while True:
            self._stage.check()
            self._look()
            if self._is_complete() and not is_reported:
                if self._plan.once:
                    return self._judged(self._finish())
                self._report_now()
                is_reported = True
                self._teller.say("one turn of the loop is complete; it goes on", style="bold green")
            self._check_time()
            self._stop.wait(POLL_S)

    def _look(self) -> None:
        try:
            self._watch.look()
        except (CloudUnreachableError, CloudRefusedError):
            return  # it is being restarted, or busy: the next look comes soon
        plant = self._stage.plant
        # Whoever labels waits to see what came of it: the next run is for what is still wrong.
        (plant.oracle.rests.set if self._watch.is_learning else plant.oracle.rests.clear)()
        verdicts = sum(len(seen.latencies_ms) for seen in plant.statistics().values())
        self._teller.figures(f"parts {verdicts} · {self._watch.figures()}")

    def _check_time(self) -> None:
        plant, spent = self._stage.plant, time.monotonic() - self._stage.started_at
        if plant.first_verdict_at is None and spent > NO_VERDICT_TIMEOUT_S:
            log = self._stage.log_of(edge_name(self._workshop.cells[0]))
            raise SimulatorError(f"no verdict within {spent:.0f} s: {last_words(log)}")
        if self._plan.once and spent > self._plan.time_limit_s:
            report = self._finish()
            raise UnmetError(
                [f"no complete turn within {spent / 60:.0f} min", *unmet(report, self._plan)],
                report,
            )

    def _is_complete(self) -> bool:
        """A release from a retraining runs on every cell, and has judged some parts there."""
        plant, run = self._stage.plant, self._watch.state.good_run
        rollout = self._watch.state.rollout
        if run is None or rollout is None or rollout["state"] != "succeeded":
            return False
        release = run["release"]
        if rollout["release"] != release:
            return False
        for cell in self._plan.cells:
            model = plant.last_model.get(cell)
            if model is None or model.release != release:
                return False
            if plant.parts_on_model[cell, model.bundle_id] < self._plan.parts_after_swap:
                return False
        return True

    # --- ending ------------------------------------------------------------------------------

    def _finish(self) -> Json:
        """Stop the lines, let the outboxes drain, and write the report."""
        self._teller.say("the lines stop; outboxes drain")
        self._stage.plant.stop_triggers()
        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        records = self._compare()
        while not self._is_drained(records) and time.monotonic() < deadline:
            self._stage.check()
            if self._stop.wait(POLL_S):
                raise StoppedError
            records = self._compare()
        return self._report_now(records)

    def _compare(self) -> list[RecordCounts]:
        try:
            return ledger.compare(self._stage.cloud, self._workshop.cells)
        except (CloudUnreachableError, CloudRefusedError):
            return []

    def _is_drained(self, records: list[RecordCounts]) -> bool:
        equal = bool(records) and all(count.made == count.in_cloud for count in records)
        return equal and ledger.waiting(self._workshop.cells) == 0

    def _report_now(self, records: list[RecordCounts] | None = None) -> Json:
        plant = self._stage.plant
        self._watch.look()
        state = self._watch.state
        first = plant.first_verdict_at
        facts = Facts(
            setup_s=self._stage.setup_s,
            first_verdict_s=None if first is None else first - self._stage.started_at,
            parts=plant.num_parts,
            plcs=plant.statistics(),
            records=self._compare() if records is None else records,
            duplicates=ledger.duplicates(self._stage.cloud),
            hard_images=state.hard_images,
            labels=state.labels,
            run=state.good_run,
            model_before=self._model_before(),
            model_after=_common(plant.last_model, len(self._plan.cells)),
            missed_during_swap=plant.missed_during_swap(),
            restarts=self._stage.restarts,
            verdicts=plant.verdicts,
        )
        report = build_report(facts)
        if self._plan.report is not None:
            write_report(report, self._plan.report)
        return report

    def _model_before(self) -> Json | None:
        """What the cells ran when this data folder was new, whoever looks by now."""
        path = self._workshop.root / "model_before.json"
        if path.exists():
            known: Json = json.loads(path.read_text())
            return known
        model = _common(self._stage.plant.first_model, len(self._plan.cells))
        if model is not None:
            path.write_text(json.dumps(model))
        return model

    def _judged(self, report: Json) -> Json:
        misses = unmet(report, self._plan)
        if misses:
            raise UnmetError(misses, report)
        return report


def write_report(report: Json, path: Path) -> None:
    """Write the report, whole or not at all.

    Raises:
        SimulatorError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise SimulatorError(f"cannot write {path}: {error.strerror}") from error


def _common(models: dict[str, ModelRef], num_cells: int) -> Json | None:
    """The model that all cells run; None while they differ."""
    found = set(models.values())
    if len(models) < num_cells or len(found) != 1:
        return None
    return found.pop().model_dump(mode="json")

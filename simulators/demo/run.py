"""One demonstration from the first process to the report."""

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from models.contract.bundle import ModelRef
from simulators.cloud_client import CloudClient, CloudRefusedError, CloudUnreachableError, Json
from simulators.demo import ledger
from simulators.demo.learning_watch import LearningWatch
from simulators.demo.plan import DemoPlan
from simulators.demo.plant import Plant
from simulators.demo.processes import StoppedError, Supervisor, last_words, program
from simulators.demo.report import Facts, RecordCounts, build_report, unmet
from simulators.demo.story import SilentTeller, Teller
from simulators.demo.workshop import Workshop, is_free
from simulators.demo.world import World, world_of
from simulators.errors import SimulatorError

POLL_S = 1.0
SERVER_TIMEOUT_S = 90.0
BROKER_TIMEOUT_S = 10.0
DRAIN_TIMEOUT_S = 90.0
NO_VERDICT_TIMEOUT_S = 240.0
SWITCH_INTERVAL_S = 0.0005
"""Threads give way this often; Python's 5 ms would show in the PLC's figures."""


class UnmetError(SimulatorError):
    """The demonstration ran to its end but missed a target; the report has been written."""

    def __init__(self, misses: list[str], report: Json) -> None:
        super().__init__("; ".join(misses))
        self.report = report


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
    workshop = Workshop(plan)
    try:
        return _Demo(
            plan, world, workshop, teller or SilentTeller(), stop or threading.Event()
        ).run()
    finally:
        workshop.close()


class _Demo:
    def __init__(
        self,
        plan: DemoPlan,
        world: World,
        workshop: Workshop,
        teller: Teller,
        stop: threading.Event,
    ) -> None:
        self._begin = time.monotonic()
        self._plan = plan
        self._world = world
        self._workshop = workshop
        self._teller = teller
        self._stop = stop
        self._restarts: Counter[str] = Counter()
        self._cloud = CloudClient(f"http://127.0.0.1:{plan.port}")
        self._supervisor = Supervisor(workshop.root, on_restart=self._on_restart)
        self._watch = LearningWatch(self._cloud, teller)
        self._plant: Plant | None = None
        self._base_failure: SimulatorError | None = None
        self._base = threading.Thread(target=self._make_base, name="base", daemon=True)
        self._setup_s = plan.setup_s
        self._started_at = self._begin
        self._ended = threading.Event()

    def run(self) -> Json:
        try:
            self._start()
            return self._follow()
        finally:
            self._end()

    # --- starting ----------------------------------------------------------------------------

    def _start(self) -> None:
        workshop, supervisor = self._workshop, self._supervisor
        stopper = threading.Thread(target=self._stop_tasks, name="stopper", daemon=True)
        stopper.start()
        bundle = self._world.first_bundle(supervisor, workshop)
        workshop.write_configuration(self._world.recipe, bundle)
        broker = workshop.broker_command()
        self._started_at = time.monotonic()
        self._setup_s += self._started_at - self._begin
        supervisor.keep("broker", broker)
        self._wait(lambda: not is_free(workshop.broker_port), BROKER_TIMEOUT_S, "broker")
        config = ("--config", str(workshop.cloud_config))
        supervisor.run("migrate", program("sightline-cloud", "migrate", *config))
        supervisor.keep("serve", program("sightline-cloud", "serve", *config))
        supervisor.keep("ingest", program("sightline-cloud", "ingest", *config))
        self._wait(self._is_served, SERVER_TIMEOUT_S, "serve")
        self._teller.say(f"dashboard: {self._cloud.url}", style="bold")
        for cell in workshop.cells:
            name = f"edge-{cell.address.line}-{cell.address.cell}"
            supervisor.keep(name, program("sightline-edge", "run", "--config", str(cell.config)))
        self._plant = Plant(self._plan, self._world, workshop, self._cloud, self._teller)
        self._plant.start()
        self._register_baseline(bundle)
        self._base.start()
        self._plant.start_labelling()

    def _is_served(self) -> bool:
        return self._cloud.is_up() and self._workshop.tuf_root.exists()

    def _wait(self, is_there: Callable[[], bool], timeout_s: float, name: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_there():
            self._check()
            if time.monotonic() > deadline:
                log = self._workshop.root / "logs" / f"{name}.log"
                raise SimulatorError(f"{name} did not come up: {last_words(log)}")
            self._stop.wait(0.1)

    def _register_baseline(self, bundle: Path) -> None:
        if self._cloud.get("releases", limit=1)["items"]:
            return
        release = self._cloud.post("releases", {"bundle_dir": str(bundle)})
        number = release["release"]
        self._cloud.post(f"releases/{number}/approve")
        self._teller.say(
            f"cloud: baseline {release['name']} ({release['bundle_id'][:8]}) is release {number}"
        )

    def _make_base(self) -> None:
        """Runs beside the line: the first verdict need not wait for it."""
        try:
            self._world.make_base(self._supervisor, self._workshop)
            url = str(self._workshop.base_snapshot)
            if not self._cloud.get("snapshots", limit=1)["items"]:
                snapshot = self._cloud.post("snapshots", {"url": url})
                counts = snapshot["manifest"]["splits"]
                sizes = ", ".join(f"{part['num_images']} {name}" for name, part in counts.items())
                self._teller.say(f"cloud: base snapshot {snapshot['snapshot_id']} ({sizes})")
        except StoppedError:
            pass
        except SimulatorError as error:
            self._base_failure = error

    # --- following ---------------------------------------------------------------------------

    def _follow(self) -> Json:
        is_reported = False
        report: Json = {}
        while True:
            self._check()
            self._look()
            if self._is_complete() and not is_reported:
                report = self._finish() if self._plan.once else self._report_now()
                is_reported = True
                if self._plan.once:
                    return self._judged(report)
                self._teller.say("one turn of the loop is complete; it goes on", style="bold green")
            self._check_time()
            self._stop.wait(POLL_S)

    def _look(self) -> None:
        try:
            self._watch.look()
        except (CloudUnreachableError, CloudRefusedError):
            return  # it is being restarted, or busy: the next look comes soon
        plant = self._running_plant()
        verdicts = sum(len(seen.latencies_ms) for seen in plant.statistics().values())
        self._teller.figures(f"parts {verdicts} · {self._watch.figures()}")

    def _check(self) -> None:
        if self._stop.is_set():
            raise StoppedError
        self._supervisor.check()
        for failure in (self._base_failure, self._plant.failure if self._plant else None):
            if failure is not None:
                raise failure

    def _check_time(self) -> None:
        plant, spent = self._running_plant(), time.monotonic() - self._started_at
        if plant.first_verdict_at is None and spent > NO_VERDICT_TIMEOUT_S:
            first = self._workshop.cells[0].address
            log = self._workshop.root / "logs" / f"edge-{first.line}-{first.cell}.log"
            raise SimulatorError(f"no verdict within {spent:.0f} s: {last_words(log)}")
        if self._plan.once and spent > self._plan.time_limit_s:
            report = self._finish()
            raise UnmetError(
                [f"no complete turn within {spent / 60:.0f} min", *unmet(report, self._plan)],
                report,
            )

    def _is_complete(self) -> bool:
        """A release from a retraining runs on every cell, and has judged some parts there."""
        plant, run = self._running_plant(), self._watch.state.good_run
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
        self._running_plant().stop_triggers()
        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        records = self._compare()
        while not self._is_drained(records) and time.monotonic() < deadline:
            self._supervisor.check()
            if self._stop.wait(POLL_S):
                raise StoppedError
            records = self._compare()
        return self._report_now(records)

    def _compare(self) -> list[RecordCounts]:
        try:
            return ledger.compare(self._cloud, self._workshop.cells)
        except (CloudUnreachableError, CloudRefusedError):
            return []

    def _is_drained(self, records: list[RecordCounts]) -> bool:
        equal = bool(records) and all(count.made == count.in_cloud for count in records)
        return equal and ledger.waiting(self._workshop.cells) == 0

    def _report_now(self, records: list[RecordCounts] | None = None) -> Json:
        plant = self._running_plant()
        self._watch.look()
        state = self._watch.state
        first = plant.first_verdict_at
        facts = Facts(
            setup_s=self._setup_s,
            first_verdict_s=None if first is None else first - self._started_at,
            parts=plant.num_parts,
            plcs=plant.statistics(),
            records=self._compare() if records is None else records,
            duplicates=ledger.duplicates(self._cloud),
            hard_images=state.hard_images,
            labels=state.labels,
            run=state.good_run,
            model_before=self._model_before(),
            model_after=_common(plant.last_model, len(self._plan.cells)),
            missed_during_swap=plant.missed_during_swap(),
            restarts=self._restarts,
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
        model = _common(self._running_plant().first_model, len(self._plan.cells))
        if model is not None:
            path.write_text(json.dumps(model))
        return model

    def _judged(self, report: Json) -> Json:
        misses = unmet(report, self._plan)
        if misses:
            raise UnmetError(misses, report)
        return report

    def _end(self) -> None:
        self._ended.set()
        if self._plant is not None:
            self._plant.stop()
        self._supervisor.stop()
        self._teller.close()

    def _stop_tasks(self) -> None:
        """A task under way must not keep the user waiting."""
        while not self._ended.is_set():
            if self._stop.wait(0.5):
                self._supervisor.stop_tasks()
                return

    def _on_restart(self, name: str) -> None:
        self._restarts[name] += 1
        self._teller.say(f"{name} had died and was started again", style="magenta")

    def _running_plant(self) -> Plant:
        if self._plant is None:
            raise SimulatorError("the lines have not been started")
        return self._plant


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

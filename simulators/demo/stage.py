"""What the demonstration puts on stage: processes, lines, the first labelled pictures."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from simulators.cloud_client import CloudClient
from simulators.demo.plan import DemoPlan
from simulators.demo.plant import Plant
from simulators.demo.processes import StoppedError, Supervisor, last_words, program
from simulators.demo.story import Teller
from simulators.demo.workshop import CellFiles, Workshop
from simulators.demo.world import World
from simulators.errors import SimulatorError
from simulators.ports import is_free

SERVER_TIMEOUT_S = 90.0
BROKER_TIMEOUT_S = 10.0


class Stage:
    """The running demonstration; `end` leaves no process behind.

    Args:
        plan: What to put up.
        world: What lies under the cameras.
        workshop: Its folder.
        teller: Told of what happens.
        stop: Set when the user wants to stop.

    Attributes:
        cloud: The API.
        restarts: Processes that died and were started again.
        setup_s: What setting up took, until the first process of the loop was started.
        started_at: Moment of that, on the monotonic clock.
    """

    def __init__(
        self,
        plan: DemoPlan,
        world: World,
        workshop: Workshop,
        teller: Teller,
        stop: threading.Event,
    ) -> None:
        self._plan = plan
        self._world = world
        self._workshop = workshop
        self._teller = teller
        self._stop = stop
        self._ended = threading.Event()
        self._plant: Plant | None = None
        self._base_failure: SimulatorError | None = None
        self.cloud = CloudClient(f"http://127.0.0.1:{plan.port}")
        self.restarts: Counter[str] = Counter()
        self.setup_s = plan.setup_s
        self.started_at = time.monotonic()
        self._supervisor = Supervisor(workshop.root, on_restart=self._on_restart)

    @property
    def plant(self) -> Plant:
        """The lines.

        Raises:
            SimulatorError: they have not been started.
        """
        if self._plant is None:
            raise SimulatorError("the lines have not been started")
        return self._plant

    def start(self) -> None:
        """Put everything up; returns once the lines run.

        Raises:
            SimulatorError: something does not come up.
            StoppedError: the user wants to stop.
        """
        threading.Thread(target=self._stop_tasks, name="stopper", daemon=True).start()
        workshop = self._workshop
        if self._plan.photographs is not None:
            budget = self._plan.photographs.fit_budget
            self._teller.say(f"the baseline is fitted to the first photographs ({budget}, once)")
        bundle = self._world.first_bundle(self._supervisor, workshop)
        workshop.write_configuration(self._world.recipe, bundle)
        broker = workshop.broker_command()
        now = time.monotonic()
        self.setup_s += now - self.started_at
        self.started_at = now
        self._start_cloud(broker)
        self._teller.say(f"dashboard: {self.cloud.url}", style="bold")
        for cell in workshop.cells:
            command = program("sightline-edge", "run", "--config", str(cell.config))
            self._supervisor.keep(edge_name(cell), command)
        self._plant = Plant(self._plan, self._world, workshop, self.cloud, self._teller)
        self._plant.start()
        self._register_baseline(bundle)
        threading.Thread(target=self._make_base, name="base", daemon=True).start()
        self._plant.start_labelling()

    def check(self) -> None:
        """See that everything is well.

        Raises:
            StoppedError: the user wants to stop.
            SimulatorError: something is beyond help.
        """
        if self._stop.is_set():
            raise StoppedError
        self._supervisor.check()
        for failure in (self._base_failure, self._plant.failure if self._plant else None):
            if failure is not None:
                raise failure

    def end(self) -> None:
        """End everything."""
        self._ended.set()
        if self._plant is not None:
            self._plant.stop()
        self._supervisor.stop()

    def log_of(self, name: str) -> Path:
        """Where a process writes."""
        return self._workshop.root / "logs" / f"{name}.log"

    def _start_cloud(self, broker: list[str]) -> None:
        workshop, supervisor = self._workshop, self._supervisor
        supervisor.keep("broker", broker)
        self._wait(lambda: not is_free(workshop.broker_port), BROKER_TIMEOUT_S, "broker")
        config = ("--config", str(workshop.cloud_config))
        supervisor.run("migrate", program("sightline-cloud", "migrate", *config))
        supervisor.keep("serve", program("sightline-cloud", "serve", *config))
        supervisor.keep("ingest", program("sightline-cloud", "ingest", *config))
        self._wait(self._is_served, SERVER_TIMEOUT_S, "serve")

    def _is_served(self) -> bool:
        return self.cloud.is_up() and self._workshop.tuf_root.exists()

    def _wait(self, is_there: Callable[[], bool], timeout_s: float, name: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_there():
            self.check()
            if time.monotonic() > deadline:
                raise SimulatorError(f"{name} did not come up: {last_words(self.log_of(name))}")
            self._stop.wait(0.1)

    def _register_baseline(self, bundle: Path) -> None:
        if self.cloud.get("releases", limit=1)["items"]:
            return
        release = self.cloud.post("releases", {"bundle_dir": str(bundle)})
        number = release["release"]
        self.cloud.post(f"releases/{number}/approve")
        self._teller.say(
            f"cloud: baseline {release['name']} ({release['bundle_id'][:8]}) is release {number}"
        )

    def _make_base(self) -> None:
        """Runs beside the line: the first verdict need not wait for it."""
        try:
            self._world.make_base(self._supervisor, self._workshop)
            url = str(self._workshop.base_snapshot)
            if not self.cloud.get("snapshots", limit=1)["items"]:
                snapshot = self.cloud.post("snapshots", {"url": url})
                counts = snapshot["manifest"]["splits"]
                sizes = ", ".join(f"{part['num_images']} {name}" for name, part in counts.items())
                self._teller.say(f"cloud: base snapshot {snapshot['snapshot_id']} ({sizes})")
        except StoppedError:
            pass
        except SimulatorError as error:
            self._base_failure = error

    def _stop_tasks(self) -> None:
        """A task under way must not keep the user waiting."""
        while not self._ended.is_set():
            if self._stop.wait(0.5):
                self._supervisor.stop_tasks()
                return

    def _on_restart(self, name: str) -> None:
        self.restarts[name] += 1
        self._teller.say(f"{name} had died and was started again", style="magenta")


def edge_name(cell: CellFiles) -> str:
    """Name of a cell's agent among the processes."""
    return f"edge-{cell.address.line}-{cell.address.cell}"

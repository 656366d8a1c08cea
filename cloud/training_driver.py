"""Drives one training run after the other: snapshot → process → gates → candidate → cells.

A server that restarts takes up a run where it is: it goes on following the process, starts it
again from its checkpoint, or says why it failed.
"""

import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from cloud import audit
from cloud.dataset import Datasets
from cloud.db.session import Database
from cloud.db.tables import Release, RunState, TrainingRun
from cloud.errors import CloudError
from cloud.fleet import Fleet
from cloud.gates import GateReport, judge, read_report
from cloud.json_values import parse_json
from cloud.registry import Registry
from cloud.run_log import RunLog
from cloud.settings import GateSettings, RetrainingSettings
from cloud.training_process import (
    BUNDLE_FOLDER,
    EVENTS_NAME,
    LOG_NAME,
    REPORT_NAME,
    Event,
    EventTail,
    TrainingProcess,
    arguments,
    program,
    read_tail,
    seconds_of,
)
from models.contract.bundle import FLOAT_WEIGHTS_NAME, read_manifest
from models.contract.model import ContractError

LOGGER = logging.getLogger(__name__)
OPEN = (RunState.QUEUED, RunState.RUNNING)
RELEASED_INIT = "released"
FIRST_INIT = "imagenet"
MAX_STARTS = 2
"""A process that dies without a word is started again from its checkpoint, once."""
MIN_TIMEOUT_S = 900.0
"""Below this a small budget would leave no time for Spark's start, export and evaluation."""
PERIOD_S = 0.5
LAST_WORDS = ("done", "error")


class RunFailedError(CloudError):
    """A run ended without a candidate; the text says why."""


class TrainingDriver:
    """The thread that takes training runs to their end.

    Args:
        database: Holds the runs.
        datasets: Builds the snapshot.
        registry: Gives the model to start from, and takes the candidate.
        fleet: Rolls it out where ``auto_promote`` is set.
        settings: The program and its arguments.
        gates: What a candidate must hold.
        run_log: Where runs are told of besides, when they have ended.
        now: The wall clock.
    """

    def __init__(
        self,
        database: Database,
        *,
        datasets: Datasets,
        registry: Registry,
        fleet: Fleet,
        settings: RetrainingSettings,
        gates: GateSettings,
        run_log: RunLog | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._datasets = datasets
        self._registry = registry
        self._fleet = fleet
        self._settings = settings
        self._gates = gates
        self._run_log = run_log
        self._now = now
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._cancelled: set[str] = set()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Say that a run was queued."""
        self._wake.set()

    def cancel(self, run_id: str) -> None:
        """End a run's process soon."""
        self._cancelled.add(run_id)
        self._wake.set()

    def start(self) -> None:
        """Begin to drive runs, beginning with one that an earlier server left open."""
        self._thread = threading.Thread(target=self._work, name="retraining", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let go: a running process is ended and taken up again by the next start."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                run = self._next_run()
                if run is not None:
                    self._drive(run.run_id)
            except Exception:  # the thread's boundary: the next run must find it alive
                LOGGER.exception("retraining failed unexpectedly")
            self._wake.wait(PERIOD_S)
            self._wake.clear()

    def _next_run(self) -> TrainingRun | None:
        query = select(TrainingRun).where(TrainingRun.state.in_(OPEN))
        with self._database.read() as session:
            return session.scalars(query.order_by(TrainingRun.created_at).limit(1)).one_or_none()

    def _drive(self, run_id: str) -> None:
        """Take a run to its end, or as far as this server lives."""
        try:
            run = self._prepare(run_id)
            if not self._train(run):
                return
            self._judge(run)
        except (CloudError, ContractError) as error:
            LOGGER.warning("retraining ended without a candidate", extra={"cause": str(error)})
            is_cancelled = run_id in self._cancelled
            state = RunState.CANCELLED if is_cancelled else RunState.FAILED
            with self._changing(run_id) as row:
                self._close(row, state, str(error))
        except Exception as error:
            with self._changing(run_id) as row:
                self._close(row, RunState.FAILED, f"internal error: {type(error).__name__}")
            raise
        finally:
            self._cancelled.discard(run_id)
            self._tell(run_id)

    def _tell(self, run_id: str) -> None:
        """Tell the log of a run that has ended; what it cannot take is not the run's fault."""
        run = self._get(run_id)
        if self._run_log is None or run.state in OPEN:
            return
        events = EventTail(Path(run.directory) / EVENTS_NAME).read()
        history = [event for event in events if event["event"] == "progress" and "step" in event]
        try:
            self._run_log.tell(run, history)
        except CloudError as error:
            LOGGER.warning("run log was not told", extra={"run_id": run_id, "cause": str(error)})

    def _prepare(self, run_id: str) -> TrainingRun:
        """Build the snapshot and write down what the process will be told."""
        run = self._get(run_id)
        if run.parameters is not None:
            return run
        snapshot = self._datasets.build(actor=run.requested_by)
        current = self._registry.current()
        bundle = Path(current.bundle_dir) if current else None
        command = [
            *program(self._settings),
            *arguments(
                self._settings,
                snapshot_url=snapshot.url,
                run_dir=Path(run.directory),
                init=self._init(bundle),
                name=current.name if current else self._settings.name,
                compare=str(bundle) if bundle else None,
            ),
        ]
        with self._changing(run_id) as row:
            row.state = RunState.RUNNING
            row.started_at = self._now()
            row.snapshot_id = snapshot.snapshot_id
            row.init_bundle_id = current.bundle_id if current else None
            row.compared_bundle_id = current.bundle_id if current else None
            row.parameters = {
                "command": command,
                "starts": 0,
                "master": self._settings.master,
                "workers": self._settings.workers,
                "budget": self._settings.budget,
            }
            return row

    def _init(self, bundle: Path | None) -> str:
        if self._settings.init != RELEASED_INIT:
            return self._settings.init
        if bundle is not None and (bundle / FLOAT_WEIGHTS_NAME).exists():
            return str(bundle)
        return FIRST_INIT

    def _train(self, run: TrainingRun) -> bool:
        """Run the process to its end; False when the server stops before.

        Raises:
            RunFailedError: it failed, was cancelled, or took too long.
        """
        folder = Path(run.directory)
        tail = EventTail(folder / EVENTS_NAME)
        pid = run.pid
        while True:
            if pid is None:
                process = self._start_process(run.run_id, folder, tail)
            else:  # an earlier server started it: it runs, or it ended while nobody looked
                process = TrainingProcess(pid, folder)
            last = self._follow(run, process, tail)
            if self._stopping.is_set() and last is None:
                return False
            if last is not None and last["event"] == "done":
                return True
            if last is not None:
                raise RunFailedError(str(last.get("message", "training failed")))
            self._explain_unless_resumable(run.run_id, process, folder)
            pid = None

    def _start_process(self, run_id: str, folder: Path, tail: EventTail) -> TrainingProcess:
        tail.skip()
        shutil.rmtree(folder / BUNDLE_FOLDER, ignore_errors=True)  # of a start that did not finish
        with self._changing(run_id) as row:
            parameters = dict(row.parameters or {})
            parameters["starts"] = parameters.get("starts", 0) + 1
            parameters["process_started_at"] = self._now().isoformat()
            row.parameters = parameters
        process = TrainingProcess.start(parameters["command"], folder, nice=self._settings.nice)
        with self._changing(run_id) as row:
            row.pid = process.pid
        LOGGER.info("training started", extra={"run_id": run_id, "pid": process.pid})
        return process

    def _follow(self, run: TrainingRun, process: TrainingProcess, tail: EventTail) -> Event | None:
        """Write progress down until the process ends; gives its last word, if it had one.

        Raises:
            RunFailedError: it was cancelled or took too long; it has been ended.
        """
        last: Event | None = None
        deadline = self._process_started_at(run.run_id) + self._timeout()
        was_alive = False
        while True:
            is_alive = process.is_alive()
            progress = None
            for event in tail.read():
                if event["event"] == "progress":
                    progress = event
                elif event["event"] in LAST_WORDS:
                    last = event
            if progress is not None:
                with self._changing(run.run_id) as row:
                    row.progress = progress
            if not is_alive:
                if was_alive:
                    process.clear_up()
                return last
            was_alive = True
            cause = self._why_end(run.run_id, deadline)
            if cause is not None:
                process.end()
                if cause:
                    raise RunFailedError(cause)
                self._forget_process(run.run_id)
                return None
            self._wake.wait(PERIOD_S)

    def _process_started_at(self, run_id: str) -> datetime:
        """From when the time limit counts: hours without a server are not the training's fault."""
        run = self._get(run_id)
        told = (run.parameters or {}).get("process_started_at")
        if told is not None:
            return datetime.fromisoformat(told)
        return run.started_at or self._now()  # of an earlier version's run

    def _why_end(self, run_id: str, deadline: datetime) -> str | None:
        """Why a live process must end: the cause, empty when the server stops, None to go on."""
        if run_id in self._cancelled:
            return "cancelled"
        if self._stopping.is_set():
            return ""
        if self._now() > deadline:
            return f"took longer than {self._timeout().total_seconds() / 60:.0f} min and was ended"
        return None

    def _forget_process(self, run_id: str) -> None:
        # Ended on purpose: the next server's start is not a second try.
        with self._changing(run_id) as row:
            row.pid = None
            row.parameters = dict(row.parameters or {}) | {"starts": 0}

    def _explain_unless_resumable(
        self, run_id: str, process: TrainingProcess, folder: Path
    ) -> None:
        """A process that died without a word may be started again; a second time it may not."""
        starts = (self._get(run_id).parameters or {}).get("starts", MAX_STARTS)
        code = process.exit_code
        has_died = code is None or code < 0
        if has_died and starts < MAX_STARTS:
            LOGGER.warning("training died, starting it again", extra={"run_id": run_id})
            return
        how = "was killed" if has_died else f"ended with exit code {code}"
        lines = read_tail(folder / LOG_NAME).strip().splitlines()
        raise RunFailedError(f"training {how}" + (f": {lines[-1][:300]}" if lines else ""))

    def _judge(self, run: TrainingRun) -> None:
        """Compare, and make a candidate of what passed every gate."""
        folder = Path(run.directory)
        report_path = folder / REPORT_NAME
        report = read_report(report_path)
        bundle = folder / BUNDLE_FOLDER
        gates = judge(report, self._gates, num_golden=len(read_manifest(bundle).golden))
        with self._changing(run.run_id) as row:
            row.report = parse_json(report_path.read_bytes())
            row.gates = gates.to_json()
            if not gates.passed:
                self._close(row, RunState.REFUSED, gates.reason)
        if gates.passed:
            self._release(run, bundle, gates)

    def _release(self, run: TrainingRun, bundle: Path, gates: GateReport) -> None:
        release = self._registry.add(
            bundle,
            actor=audit.SYSTEM,
            origin="retraining",
            run_id=run.run_id,
            lineage={
                "run_id": run.run_id,
                "snapshot_id": run.snapshot_id,
                "parent_bundle_id": run.init_bundle_id,
            },
        )
        if self._settings.auto_promote:
            self._promote(release)
        # Last: a server that dies before comes through here again, and nothing above does harm
        # when it is done twice.
        with self._changing(run.run_id) as row:
            row.release = release.release
            self._close(row, RunState.SUCCEEDED, None)
        LOGGER.info(
            "candidate made", extra={"release": release.release, "gates": len(gates.findings)}
        )

    def _promote(self, release: Release) -> None:
        try:
            self._registry.approve(release.release, actor=audit.SYSTEM)
            self._fleet.start_rollout(release.release, actor=audit.SYSTEM)
        except CloudError as error:  # the candidate is good all the same: a person decides
            LOGGER.warning(
                "candidate could not be rolled out",
                extra={"release": release.release, "cause": str(error)},
            )

    def _get(self, run_id: str) -> TrainingRun:
        with self._database.read() as session:
            return session.get_one(TrainingRun, run_id)

    def _timeout(self) -> timedelta:
        seconds = seconds_of(self._settings.budget) * self._settings.timeout_factor
        return timedelta(seconds=max(MIN_TIMEOUT_S, seconds))

    @contextmanager
    def _changing(self, run_id: str) -> Iterator[TrainingRun]:
        with self._database.write() as session:
            yield session.get_one(TrainingRun, run_id, with_for_update=True)

    def _close(self, run: TrainingRun, state: RunState, error: str | None) -> None:
        close_run(run, state, error, self._now())


def close_run(run: TrainingRun, state: RunState, error: str | None, now: datetime) -> None:
    """Write down how a run ended."""
    run.state = state
    run.error = error
    run.pid = None
    run.finished_at = now

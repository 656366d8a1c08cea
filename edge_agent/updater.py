"""Brings the model that the cloud wants onto the line without the line noticing.

download → verify → compile and check in a process of its own → look at live parts in the shadow →
swap between two cycles → canary window → good, or back to the old one by itself and quarantined.
Every step but the swap runs on the updater's thread at low priority.

Wiring::

    updater = Updater(store=store, source=tuf_client, host=access, active=model, clock=clock,
                      workshop=workshop, hooks=UpdaterHooks(on_change=uplink.report_now, …))
    Learning(observers=(updater,), …);  MqttUplink(on_model=updater.desire, …)
    reported = Reported(phase=updater.status.phase, …)
"""

import logging
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from edge_agent.clock import NS_PER_MS
from edge_agent.errors import (
    EdgeAgentError,
    ReleaseUnavailableError,
    StorageError,
    SwapError,
    UpdateError,
)
from edge_agent.live_parts import LiveParts
from edge_agent.model_store import ModelStore, StoredModel
from edge_agent.ports import Clock, CycleOutcome, LoadedModel, ModelHost
from edge_agent.priority import be_modest
from edge_agent.second_look import Opinion, SecondLook, second_look
from edge_agent.update_ports import ReleaseSource, UpdaterHooks, UpdateStatus, Workshop
from edge_agent.update_progress import UpdateProgress
from edge_agent.update_rules import (
    CanaryWindow,
    Move,
    Pair,
    ShadowWindow,
    WindowLimits,
    decide,
)
from models.contract.bundle import ModelRef, read_manifest
from models.contract.messages import DesiredModel, FollowMode, HardReason, ModelPhase
from models.contract.model import ContractError

logger = logging.getLogger(__name__)

NICENESS = 10
POLL_S = 0.5
STOP_TIMEOUT_S = 15.0
RETRY_REFUSED_S = 300.0
"""After the repository's answer was refused, or the disk: somebody has to mend that first."""


class _SupersededError(Exception):
    """The cloud wants something else, or the agent stops."""


class _RejectedModelError(UpdateError):
    """The model itself is bad: it may not run here again."""


class Updater:
    """Reconciles what runs with what is wanted; also the observer of live cycles.

    Args:
        store: models on the disk.
        source: of releases.
        host: runs the model; nobody but the updater gives it another one.
        active: the model that the host was started with.
        workshop: compiles.
        clock: of retries.
        hooks: whom to tell.
        limits: of shadow and canary window.
        swap_timeout_s: wait for a pause between two cycles.
        niceness: of the thread; 0 where the inference uses several threads, which OpenVINO takes
            from one pool for all models.
    """

    def __init__(
        self,
        *,
        store: ModelStore,
        source: ReleaseSource,
        host: ModelHost,
        active: LoadedModel | None,
        workshop: Workshop,
        clock: Clock,
        hooks: UpdaterHooks | None = None,
        limits: WindowLimits | None = None,
        swap_timeout_s: float = 30.0,
        niceness: int = NICENESS,
    ) -> None:
        self._store = store
        self._source = source
        self._host = host
        self._active = active
        self._workshop = workshop
        self._clock = clock
        self._hooks = hooks or UpdaterHooks()
        self._limits = limits or WindowLimits()
        self._swap_timeout_s = swap_timeout_s
        self._niceness = niceness
        self._changed = threading.Condition()
        self._wanted = store.state.desired
        self._is_new = self._wanted is not None
        self._is_stopping = False
        self._parts = LiveParts(self._changed)
        self._progress = UpdateProgress(self._wanted, hooks=self._hooks, clock=clock)
        self._thread = threading.Thread(target=self._run, name="updater", daemon=True)

    def start(self) -> None:
        """Begin with what was wanted before the restart."""
        self._thread.start()

    def stop(self) -> None:
        """End where it stands; an open canary window is no fault of the model's."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        self._source.cancel()
        self._workshop.cancel()
        if self._thread.ident is not None:
            self._thread.join(STOP_TIMEOUT_S)

    @property
    def status(self) -> UpdateStatus:
        """How far it has come; any thread."""
        return self._progress.status

    def desire(self, desired: DesiredModel) -> None:
        """The cloud's wish; any thread, never blocks."""
        with self._changed:
            if desired == self._wanted:
                return
            self._wanted = desired
            self._is_new = True
            self._changed.notify_all()

    def observe(self, cycle: CycleOutcome) -> None:
        """A finished cycle; the recorder's thread, never blocks."""
        self._parts.add(cycle)

    # --- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        be_modest(self._niceness)
        while (desired := self._next()) is not None:
            try:
                self._reconcile(desired)
            except _SupersededError:
                continue
            except Exception as error:
                # The thread's boundary: the running model goes on, a person is told.
                logger.exception("update failed")
                self._progress.fail(
                    desired, f"{type(error).__name__}: {error}", retry_s=RETRY_REFUSED_S
                )

    def _next(self) -> DesiredModel | None:
        """Wait for a wish, or for the time to try the last one again; None: stop."""
        with self._changed:
            while not self._is_stopping:
                if self._wanted is not None and (self._is_new or self._progress.is_retry_due):
                    self._progress.begin(is_new=self._is_new)
                    self._is_new = False
                    return self._wanted
                self._parts.forget_pictures()
                self._changed.wait(POLL_S)
        return None

    def _reconcile(self, desired: DesiredModel) -> None:
        if desired != self._store.state.desired:
            self._store.remember_desired(desired)
        decision = decide(
            desired, _ref(self._active), self._store.quarantine_cause(desired.model.bundle_id)
        )
        if decision.move in {Move.KEEP, Move.HOLD}:
            self._progress.show(desired, ModelPhase.ACTIVE)
            return
        if decision.move is Move.REFUSE:
            self._progress.fail(desired, decision.cause)
            return
        try:
            if decision.move is Move.RELABEL:
                self._relabel(desired)
            else:
                self._install(desired)
        except ReleaseUnavailableError as error:
            self._progress.wait_for_server(desired, str(error))
        except _RejectedModelError as error:
            self._store.quarantine(desired.model, str(error))
            self._progress.fail(desired, str(error))
        except (UpdateError, StorageError) as error:
            self._progress.fail(desired, str(error), retry_s=RETRY_REFUSED_S)

    def _relabel(self, desired: DesiredModel) -> None:
        """The bundle that runs got a release number: nothing else changes."""
        active = self._active
        if active is None:
            return
        self._progress.show(desired, ModelPhase.VERIFYING)
        self._source.confirm(desired.model)
        named = LoadedModel(desired.model, active.manifest, active.detector, active.bundle_dir)
        self._swap(named)
        self._store.promote(desired.model)
        self._progress.succeed(desired)

    def _install(self, desired: DesiredModel) -> None:
        was_good = any(good.bundle_id == desired.model.bundle_id for good in self._store.state.good)
        bundle_dir = self._obtain(desired)
        self._check(desired, bundle_dir)
        try:
            model = self._workshop.load(StoredModel(desired.model, bundle_dir))
        except EdgeAgentError as error:
            raise _RejectedModelError(str(error)) from error
        try:
            # A bundle that has passed both windows on this line before is wanted back at once.
            if not was_good:
                self._watch_shadow(desired, model)
            self._take_over(desired, model, num_parts=0 if was_good else desired.canary_parts)
        finally:
            if self._active is not model:
                self._close(model)
        self._store.collect_garbage()

    def _close(self, model: LoadedModel) -> None:
        self._hooks.after_verdict()
        model.detector.close()

    def _obtain(self, desired: DesiredModel) -> Path:
        self._progress.show(desired, ModelPhase.DOWNLOADING)
        stored = self._store.find(desired.model.bundle_id)
        if stored is not None:
            self._source.confirm(desired.model)
            return stored
        unpacked = self._source.fetch(desired.model, into=self._store.incoming)
        self._progress.show(desired, ModelPhase.VERIFYING)
        try:
            bundle_id = read_manifest(unpacked).bundle_id
        except ContractError as error:
            raise _RejectedModelError(str(error)) from error
        if bundle_id != desired.model.bundle_id:
            raise _RejectedModelError(f"archive holds bundle {bundle_id}")
        self._hooks.after_verdict()
        return self._store.install(unpacked)

    def _check(self, desired: DesiredModel, bundle_dir: Path) -> None:
        try:
            self._workshop.check(
                bundle_dir, on_phase=lambda phase: self._progress.show(desired, phase)
            )
        except UpdateError as error:
            if self._is_stopping:
                raise _SupersededError from error
            raise _RejectedModelError(str(error)) from error

    # --- shadow ------------------------------------------------------------------------------

    def _watch_shadow(self, desired: DesiredModel, model: LoadedModel) -> None:
        """Let the new model look at live parts; raises if it may not take over."""
        self._progress.show(desired, ModelPhase.SHADOW)
        window = ShadowWindow(desired.shadow_parts, self._limits)
        active = self._active
        while active is not None and not window.is_over:
            cycle = self._next_picture(desired)
            if cycle is not None and cycle.model == active.ref:
                try:
                    look, _ = self._second_look(cycle, active, model)
                except EdgeAgentError as error:
                    raise _RejectedModelError(f"shadow: {error}") from error
                window.comparison.add(_pair(look, old=look.first, new=look.second))
        if cause := window.fault():
            raise _RejectedModelError(f"shadow: {cause}")
        self._progress.note(desired, f"shadow {window.comparison}")

    def _second_look(
        self, cycle: CycleOutcome, judge: LoadedModel, other: LoadedModel
    ) -> tuple[SecondLook, float]:
        """Let a second model look at a judged part; what it saw, and in how many milliseconds."""
        self._hooks.give_way()
        # Only now: a slow judge lets the other wait long, which makes the other no slower.
        began_ns = self._now_ns()
        look = second_look(cycle, judge.detector, other.detector)
        took_ms = (self._now_ns() - began_ns) / NS_PER_MS
        if look.sees_other_boxes:
            self._hooks.keep_picture(cycle, HardReason.SHADOW_DISAGREEMENT)
        return look, took_ms

    # --- swap and canary ---------------------------------------------------------------------

    def _take_over(self, desired: DesiredModel, model: LoadedModel, *, num_parts: int) -> None:
        _, parts = self._parts.after(0)
        before = [part for part in parts if part.model == _ref(self._active)]
        self._hooks.after_verdict()
        self._store.open_trial(desired.model)
        try:
            old = self._swap(model)
        except SwapError:
            self._store.close_trial()
            raise
        self._progress.show(desired, ModelPhase.CANARY)
        window = CanaryWindow(num_parts, before, old is not None, self._limits)
        try:
            cause = self._watch_canary(desired, window, model, old)
        except _SupersededError:
            self._leave_canary(desired, model, old)
            raise
        if cause is not None:
            self._roll_back(desired, old, cause)
            return
        self._store.promote(desired.model)
        self._progress.note(desired, f"canary {window.comparison}")
        self._progress.succeed(desired)
        if old is not None:
            self._close(old)

    def _watch_canary(
        self,
        desired: DesiredModel,
        window: CanaryWindow,
        model: LoadedModel,
        old: LoadedModel | None,
    ) -> str | None:
        """Watch the new model judge; the cause to go back, or None when it did well."""
        seen = self._parts.num_seen
        while not window.is_over:
            cycle = self._next_picture(desired)
            seen, parts = self._parts.after(seen)
            for part in parts:
                if part.model == model.ref:
                    window.add(part)
            if old is not None and cycle is not None and cycle.model == model.ref:
                with suppress(EdgeAgentError):  # the old model's trouble is not the new one's
                    look, old_ms = self._second_look(cycle, model, old)
                    pair = _pair(look, old=look.second, new=look.first)
                    window.comparison.add(replace(pair, old_ms=old_ms))
            if cause := window.fault():
                return f"canary: {cause}"
        return None

    def _roll_back(self, desired: DesiredModel, old: LoadedModel | None, cause: str) -> None:
        if old is not None:
            self._swap(old)
        self._store.quarantine(desired.model, cause)
        self._hooks.note("model_rolled_back", cause)
        self._progress.show(desired, ModelPhase.ROLLED_BACK, cause)

    def _leave_canary(
        self, desired: DesiredModel, model: LoadedModel, old: LoadedModel | None
    ) -> None:
        # Neither good nor bad: the last good one runs on, here and after a restart.
        self._store.close_trial()
        if old is not None and not self._is_stopping:
            self._swap(old)
            self._hooks.note("model_rolled_back", f"{model.ref.name}: something else is wanted")
            self._progress.show(desired, ModelPhase.ACTIVE)

    def _swap(self, model: LoadedModel) -> LoadedModel | None:
        before = self._active
        self._host.swap(model, timeout_s=self._swap_timeout_s)
        self._active = model
        return before

    # --- waiting -----------------------------------------------------------------------------

    def _next_picture(self, desired: DesiredModel) -> CycleOutcome | None:
        """The oldest picture that waits for a second look; None after a while without one.

        Raises:
            _SupersededError: the cloud wants something else, or the agent stops.
        """
        with self._changed:
            if not self._parts.has_picture:
                self._changed.wait(POLL_S)
            wanted = self._wanted
            is_paused = wanted is not None and wanted.mode is FollowMode.PAUSE
            if self._is_stopping or is_paused or (wanted and wanted.model != desired.model):
                raise _SupersededError
            return self._parts.take_picture()

    def _now_ns(self) -> int:
        return self._clock.monotonic_ns()


def _pair(look: SecondLook, *, old: Opinion, new: Opinion) -> Pair:
    """Both verdicts on a part; a difference that new knowledge explains is none."""
    is_flooded = new.rejects and not old.rejects
    if look.is_explained:
        rejects = old.rejects_known and new.rejects_known
        return Pair(rejects, rejects, is_flooded)
    return Pair(old.rejects_known, new.rejects_known, is_flooded)


def _ref(model: LoadedModel | None) -> ModelRef | None:
    return model.ref if model else None

"""Models on this cell's disk: which one runs, which one was good last, which may never run again.

Layout::

    state.json                  StoreState, replaced atomically
    bundles/<bundle_id>/        a verified bundle; only ever renamed into place whole
    incoming/                   whatever was not finished; swept at start

Boot rule: the last good model, else the older good one, else the bundle that the installation
brought along (release 0). A model whose canary window was cut short twice by the death of the
process is quarantined: it may be what killed it.

Wiring::

    store = ModelStore(settings.model.store, baseline=settings.model.bundle)
    for candidate in store.boot_order(): load it; on failure store.quarantine(…) and try the next
"""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from edge_agent.errors import StorageError, UpdateError
from models.contract.bundle import ModelRef, read_manifest, verify_files
from models.contract.messages import DesiredModel
from models.contract.model import ContractError, Frozen, first_fault

logger = logging.getLogger(__name__)

MAX_TRIALS = 2
NUM_KEPT_BUNDLES = 3
MAX_QUARANTINED = 100


class Quarantined(Frozen):
    """A bundle that may not run here again, and why."""

    bundle_id: str
    release: int
    cause: str


class StoreState(Frozen):
    """What must survive a restart."""

    good: tuple[ModelRef, ...] = ()
    """Models that passed their canary window, newest first; the first one boots."""
    trial: ModelRef | None = None
    """The model whose canary window is open."""
    num_trials: int = 0
    """Times that this window was opened."""
    quarantine: tuple[Quarantined, ...] = ()
    desired: DesiredModel | None = None
    """The last word of the cloud: pin and pause hold without it, too."""


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A bundle on the disk and the release that it stands for."""

    ref: ModelRef
    bundle_dir: Path


class ModelStore:
    """Bundles by identity and one small state file; the updater's thread owns it after boot.

    Args:
        folder: of the store; made when it is not there.
        baseline: bundle of the installation, which is read in place and never changed.

    Raises:
        StorageError: the folder cannot be used.
    """

    def __init__(self, folder: Path, *, baseline: Path | None = None) -> None:
        self._folder = folder
        self._bundles = folder / "bundles"
        self._incoming = folder / "incoming"
        self._baseline = baseline
        try:
            self._bundles.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(self._incoming, ignore_errors=True)
            self._incoming.mkdir()
        except OSError as error:
            raise StorageError(f"model store {folder} cannot be used: {error.strerror}") from error
        self._state = self._read()
        self._settle_cut_short_trial()

    @property
    def state(self) -> StoreState:
        """What is on the disk now."""
        return self._state

    # --- at start ----------------------------------------------------------------------------

    def boot_order(self) -> Iterator[StoredModel]:
        """Models to try, best first; each is whole and unchanged, damaged ones are left out.

        The caller loads the first that works.
        """
        for ref in self._state.good:
            stored = self._verified(ref)
            if stored is not None and not self.is_quarantined(ref.bundle_id):
                yield stored
        if self._baseline is not None:
            manifest = read_manifest(self._baseline)
            ref = ModelRef(release=0, bundle_id=manifest.bundle_id, name=manifest.name)
            yield StoredModel(ref, self._baseline)

    def _verified(self, ref: ModelRef) -> StoredModel | None:
        folder = self.find(ref.bundle_id)
        if folder is None:
            return None
        try:
            verify_files(folder, read_manifest(folder))
        except ContractError as error:
            logger.error("stored model is damaged: %s", error)  # noqa: TRY400 - one line says all
            if folder != self._baseline:
                shutil.rmtree(folder, ignore_errors=True)
            return None
        return StoredModel(ref, folder)

    def _settle_cut_short_trial(self) -> None:
        trial = self._state.trial
        if trial is None:
            return
        if self._state.num_trials >= MAX_TRIALS:
            cause = f"the agent ended {MAX_TRIALS} times during its canary window"
            self.quarantine(trial, cause)

    # --- bundles -----------------------------------------------------------------------------

    @property
    def incoming(self) -> Path:
        """Where a bundle is unpacked before `install`: on the same file system."""
        return self._incoming

    def find(self, bundle_id: str) -> Path | None:
        """Folder of a bundle that is here, whatever release brought it."""
        folder = self._bundles / bundle_id
        if folder.is_dir():
            return folder
        if self._baseline is not None:
            with suppress(ContractError):
                if read_manifest(self._baseline).bundle_id == bundle_id:
                    return self._baseline
        return None

    def install(self, unpacked: Path) -> Path:
        """Move a verified bundle into its place; all of it is on the disk when this returns.

        Raises:
            UpdateError: it is not what its manifest says.
            StorageError: the disk does not take it.
        """
        try:
            manifest = read_manifest(unpacked)
            verify_files(unpacked, manifest)
        except ContractError as error:
            raise UpdateError(str(error)) from error
        target = self._bundles / manifest.bundle_id
        try:
            _sync_tree(unpacked)
            shutil.rmtree(target, ignore_errors=True)
            unpacked.replace(target)
            _sync(self._bundles)
        except OSError as error:
            raise StorageError(f"{target} cannot be written: {error.strerror}") from error
        return target

    def collect_garbage(self) -> None:
        """Delete bundles that nobody will ask for: not good, not on trial, not desired."""
        wanted = {ref.bundle_id for ref in self._state.good}
        if self._state.trial is not None:
            wanted.add(self._state.trial.bundle_id)
        if self._state.desired is not None:
            wanted.add(self._state.desired.model.bundle_id)
        for folder in self._bundles.iterdir():
            if folder.name not in wanted:
                shutil.rmtree(folder, ignore_errors=True)

    # --- marks -------------------------------------------------------------------------------

    def remember_desired(self, desired: DesiredModel) -> None:
        """Keep the cloud's last word."""
        self._write(desired=desired)

    def open_trial(self, ref: ModelRef) -> None:
        """Note, before the swap, that this model's canary window begins."""
        again = self._state.trial == ref
        self._write(trial=ref, num_trials=self._state.num_trials + 1 if again else 1)

    def promote(self, ref: ModelRef) -> None:
        """Mark a model as good: the next start boots it."""
        others = tuple(good for good in self._state.good if good.bundle_id != ref.bundle_id)
        good = (ref, *others)[:NUM_KEPT_BUNDLES]
        self._write(good=good, trial=None, num_trials=0)

    def close_trial(self) -> None:
        """The window ended without a judgement against the model."""
        self._write(trial=None, num_trials=0)

    def quarantine(self, ref: ModelRef, cause: str) -> None:
        """Never let this bundle run here again, under whatever release."""
        entry = Quarantined(bundle_id=ref.bundle_id, release=ref.release, cause=cause)
        entries = (entry, *self._state.quarantine)[:MAX_QUARANTINED]
        good = tuple(kept for kept in self._state.good if kept.bundle_id != ref.bundle_id)
        self._write(quarantine=entries, good=good, trial=None, num_trials=0)
        logger.warning("model quarantined", extra={"release": ref.release, "cause": cause})

    def is_quarantined(self, bundle_id: str) -> bool:
        """Whether this bundle may not run here."""
        return self.quarantine_cause(bundle_id) is not None

    def quarantine_cause(self, bundle_id: str) -> str | None:
        """Why this bundle may not run here; None when it may."""
        causes = (q.cause for q in self._state.quarantine if q.bundle_id == bundle_id)
        return next(causes, None)

    # --- the state file ----------------------------------------------------------------------

    def _read(self) -> StoreState:
        path = self._folder / "state.json"
        try:
            return StoreState.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return StoreState()
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            # Written atomically, so this is a person's edit or a failing disk. The baseline is
            # a safe place to start from; the cloud's retained wish brings the rest back.
            logger.warning("%s is ignored: %s", path, first_fault(error))
            return StoreState()

    def _write(self, **changes: object) -> None:
        self._state = self._state.model_copy(update=changes)
        path = self._folder / "state.json"
        part = path.with_suffix(".part")
        try:
            with part.open("wb") as stream:
                stream.write(self._state.model_dump_json(indent=1).encode())
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(path)
            _sync(self._folder)
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        _sync(path)
    _sync(folder)

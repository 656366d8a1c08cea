"""The model registry: bundles in a folder, releases in the database, archives signed with TUF.

A release is a bundle under a number that only rises: candidate → approved (signed, so that cells
can have it) → rolled out → withdrawn. Going back to an older bundle makes a new, higher number:
a cell never has to tell a wanted step back from a replayed old message.
"""

import shutil
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud import audit
from cloud.db.session import Database
from cloud.db.tables import Cell, Release, ReleaseState
from cloud.errors import ConflictError, InvalidError, NotFoundError
from cloud.files import sync_folder
from cloud.label_map import add_categories
from cloud.tuf_repository import TufRepository
from models.contract.bundle import (
    FLOAT_FOLDER,
    MANIFEST_NAME,
    BundleManifest,
    ModelRef,
    read_manifest,
    target_path,
    verify_files,
)
from models.contract.model import ContractError

IN_USE = (ReleaseState.APPROVED, ReleaseState.ROLLED_OUT)


class Registry:
    """Releases and the bundles behind them.

    Args:
        database: Lists the releases.
        repository: Signs and serves the archives.
        bundles_dir: Holds whole bundles, float checkpoint included, by bundle_id.
        now: The wall clock.
    """

    def __init__(
        self,
        database: Database,
        *,
        repository: TufRepository,
        bundles_dir: Path,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._repository = repository
        self._bundles_dir = bundles_dir
        self._now = now

    # --- reading -----------------------------------------------------------------------------

    def get(self, release: int) -> Release:
        """One release.

        Raises:
            NotFoundError: there is none of that number.
        """
        with self._database.read() as session:
            found = session.get(Release, release)
        if found is None:
            raise NotFoundError("release", release)
        return found

    def recent(self, *, limit: int, before: int | None = None) -> Sequence[Release]:
        """Newest first; ``before`` is the number that the page before ended with."""
        query = select(Release).order_by(Release.release.desc()).limit(limit)
        if before is not None:
            query = query.where(Release.release < before)
        with self._database.read() as session:
            return session.scalars(query).all()

    def current(self) -> Release | None:
        """What a candidate is compared with: the newest that was rolled out, else approved."""
        with self._database.read() as session:
            for state in reversed(IN_USE):
                query = select(Release).where(Release.state == state)
                found = session.scalars(
                    query.order_by(Release.release.desc()).limit(1)
                ).one_or_none()
                if found is not None:
                    return found
        return None

    def bundle_dir(self, bundle_id: str) -> Path:
        """Where the registry keeps a bundle."""
        return self._bundles_dir / bundle_id

    # --- changing ----------------------------------------------------------------------------

    def add(
        self,
        folder: Path,
        *,
        actor: str,
        origin: str = "import",
        name: str | None = None,
        run_id: str | None = None,
        lineage: dict[str, Any] | None = None,
    ) -> Release:
        """Take a bundle into the registry as a candidate.

        Args:
            folder: The bundle; it is copied, float checkpoint included.
            actor: Who adds it.
            origin: ``import``, ``retraining`` or ``rollback``.
            name: Of the model; the bundle's own when not given.
            run_id: The training run that made it; a run makes one release, asked twice or not.
            lineage: More facts about where it comes from.

        Raises:
            InvalidError: it is not a bundle, or its files are not what its manifest promises.
        """
        manifest = self._store(folder)
        with self._database.write() as session:
            known = _of_run(session, run_id)
            if known is not None:
                return known
            release = Release(
                bundle_id=manifest.bundle_id,
                name=name or manifest.name,
                state=ReleaseState.CANDIDATE,
                origin=origin,
                bundle_dir=str(self.bundle_dir(manifest.bundle_id)),
                metrics=manifest.metrics.model_dump(mode="json"),
                lineage=manifest.lineage.model_dump(mode="json") | (lineage or {}),
                categories=[category.model_dump(mode="json") for category in manifest.categories],
                thresholds=dict(manifest.thresholds),
                run_id=run_id,
                created_at=self._now(),
                created_by=actor,
            )
            session.add(release)
            session.flush()
            add_categories(session, manifest.categories, actor=actor, now=self._now())
            audit.record(
                session, actor, "add release", release.release, bundle_id=manifest.bundle_id
            )
            return release

    def approve(self, release: int, *, actor: str) -> Release:
        """Sign a candidate, so that cells can have it; approving it again changes nothing.

        Raises:
            NotFoundError: there is no such release.
            ConflictError: it was withdrawn.
            InvalidError: its bundle was damaged meanwhile.
        """
        found = self.get(release)
        if found.state is ReleaseState.WITHDRAWN:
            raise ConflictError(f"release {release} was withdrawn")
        if found.state in IN_USE:
            return found
        path = target_path(found.name, release)
        self._publish(found, path)
        with self._database.write() as session:
            row = session.get_one(Release, release, with_for_update=True)
            row.state = ReleaseState.APPROVED
            row.target_path = path
            row.approved_at = self._now()
            row.approved_by = actor
            audit.record(session, actor, "approve release", release, bundle_id=row.bundle_id)
            return row

    def withdraw(self, release: int, *, actor: str) -> Release:
        """Take a release out of use; cells can no longer install it.

        Raises:
            NotFoundError: there is no such release.
            ConflictError: cells should run it now: roll back first.
        """
        found = self.get(release)
        if found.state is ReleaseState.WITHDRAWN:
            return found
        cells = self.cells_wanting(release)
        if cells:
            raise ConflictError(
                f"release {release} is what {', '.join(cells[:3])}"
                f"{' and others' if len(cells) > 3 else ''} should run: roll back first"
            )
        if found.target_path is not None:
            self._repository.withdraw(found.target_path)
        with self._database.write() as session:
            row = session.get_one(Release, release, with_for_update=True)
            row.state = ReleaseState.WITHDRAWN
            row.withdrawn_at = self._now()
            row.withdrawn_by = actor
            audit.record(session, actor, "withdraw release", release)
            return row

    def again(self, release: int, *, actor: str) -> Release:
        """Bring an older bundle back under a new number, approved at once.

        Raises:
            NotFoundError: there is no such release.
            ConflictError: it was never approved, or withdrawn.
        """
        old = self.get(release)
        if old.state not in IN_USE:
            raise ConflictError(f"release {release} is {old.state}: only one in use can come back")
        with self._database.write() as session:
            fresh = Release(
                bundle_id=old.bundle_id,
                name=old.name,
                state=ReleaseState.CANDIDATE,
                origin="rollback",
                bundle_dir=old.bundle_dir,
                metrics=old.metrics,
                lineage=old.lineage,
                categories=old.categories,
                thresholds=old.thresholds,
                run_id=old.run_id,
                rollback_of=release,
                created_at=self._now(),
                created_by=actor,
            )
            session.add(fresh)
            session.flush()
            audit.record(session, actor, "roll back", fresh.release, rollback_of=release)
        return self.approve(fresh.release, actor=actor)

    def cells_wanting(self, release: int) -> list[str]:
        """Cells whose desired model is this release."""
        with self._database.read() as session:
            rows = session.execute(select(Cell.cell, Cell.desired).order_by(Cell.cell)).all()
        return [cell for cell, desired in rows if _release_of(desired) == release]

    def newest_number(self) -> int:
        """Highest release number ever given; 0 when there is none."""
        with self._database.read() as session:
            return session.scalar(select(func.max(Release.release))) or 0

    # --- files -------------------------------------------------------------------------------

    def _store(self, folder: Path) -> BundleManifest:
        try:
            manifest = read_manifest(folder)
            verify_files(folder, manifest)
        except ContractError as error:
            raise InvalidError(str(error)) from error
        destination = self.bundle_dir(manifest.bundle_id)
        if destination.exists() and _same_or_less(folder, destination):
            return manifest
        self._bundles_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._bundles_dir, prefix=".adding-") as scratch:
            copy = Path(scratch) / "bundle"
            shutil.copytree(folder, copy)
            if destination.exists():  # known so far without its float checkpoint
                destination.rename(Path(scratch) / "old")
            copy.rename(destination)
            sync_folder(self._bundles_dir)
        return manifest

    def _publish(self, release: Release, path: str) -> None:
        folder = Path(release.bundle_dir)
        try:
            verify_files(folder, read_manifest(folder))
        except ContractError as error:
            raise InvalidError(str(error)) from error
        with tempfile.TemporaryDirectory(prefix="sightline-release-") as scratch:
            archive = Path(scratch) / "bundle.tar"
            write_archive(folder, archive)
            custom: dict[str, int | str] = {
                "release": release.release,
                "bundle_id": release.bundle_id,
            }
            self._repository.publish(path, archive, custom)


def write_archive(folder: Path, archive: Path) -> None:
    """Pack a bundle for cells: without ``float/``, the same bytes for the same bundle."""
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if not path.is_file() or name.startswith(f"{FLOAT_FOLDER}/"):
                continue
            entry = tarfile.TarInfo(name)
            entry.size = path.stat().st_size
            entry.mode = 0o644
            with path.open("rb") as stream:
                tar.addfile(entry, stream)


def model_ref(release: Release) -> ModelRef:
    """How messages name a release."""
    return ModelRef(release=release.release, bundle_id=release.bundle_id, name=release.name)


def _of_run(session: Session, run_id: str | None) -> Release | None:
    if run_id is None:
        return None
    query = select(Release).where(Release.run_id == run_id, Release.rollback_of.is_(None))
    return session.scalars(query).one_or_none()


def _same_or_less(folder: Path, kept: Path) -> bool:
    """Whether the kept copy is whole and has a float checkpoint if the new one does."""
    if not (kept / MANIFEST_NAME).exists():
        return False
    return (kept / FLOAT_FOLDER).exists() or not (folder / FLOAT_FOLDER).exists()


def _release_of(desired: dict[str, Any] | None) -> int | None:
    return int(desired["model"]["release"]) if desired else None

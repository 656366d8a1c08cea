"""Backup and restore: everything that cannot be made again, with a hash of every file.

Layout of a backup::

    backup.json            what it is and the SHA-256 of every other file; written last
    database.sqlite        or database.dump (pg_dump, custom format)
    images/                every picture, named by its hash
    tuf/ tuf-keys/ bundles/ snapshots/

The database comes first: a picture's row is only ever written after the picture, so every row of
the backup has its picture.
"""

import hashlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, ValidationError
from sqlalchemy import Connection, func, select, text

from cloud.db.migration import check_current, current_revision
from cloud.db.session import Database
from cloud.db.types import Base
from cloud.errors import CloudError, ConfigurationError
from cloud.files import replace_file
from cloud.image_store import ImageStore
from cloud.settings import Settings
from models.contract.model import Frozen, first_fault

MANIFEST_NAME = "backup.json"
SQLITE_NAME = "database.sqlite"
POSTGRESQL_NAME = "database.dump"
Report = Callable[[str], None]


class BackupError(CloudError):
    """The backup or restore cannot be done; nothing that was there is changed."""


class BackupManifest(Frozen):
    """What a backup holds."""

    schema_version: str = "1.0"
    created_at: AwareDatetime
    backend: Literal["sqlite", "postgresql"]
    revision: str
    rows: dict[str, int]
    files: dict[str, str]


def back_up(settings: Settings, target: Path, *, report: Report = lambda _: None) -> BackupManifest:
    """Write a backup into a new folder, while everything goes on running.

    Raises:
        BackupError: the folder is not empty, or a part cannot be read.
        ConfigurationError: the database is not migrated, or ``pg_dump`` is not there.
    """
    if target.exists() and any(target.iterdir()):
        raise BackupError(f"{target} is not empty: name a new folder")
    target.mkdir(parents=True, exist_ok=True, mode=0o700)  # it holds keys
    with closing(Database(settings.database.url)) as database:
        check_current(database)
        report("database")
        rows = _dump(database, target)
        backend: Literal["sqlite", "postgresql"] = "sqlite" if database.is_sqlite else "postgresql"
        revision = current_revision(database) or ""
    images = ImageStore(settings.storage.url)
    for sha256 in images.all_hashes():
        report(f"picture {sha256[:12]}")
        path = target / "images" / sha256[:2] / sha256
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(images.get(sha256))
    for name, folder in _folders(settings).items():
        if folder.is_dir():
            report(name)
            shutil.copytree(folder, target / name, symlinks=False)
    manifest = BackupManifest(
        created_at=datetime.now(UTC),
        backend=backend,
        revision=revision,
        rows=rows,
        files=dict(_hashes(target)),
    )
    replace_file(target / MANIFEST_NAME, manifest.model_dump_json(indent=1).encode())
    return manifest


def restore(settings: Settings, source: Path, *, report: Report = lambda _: None) -> BackupManifest:
    """Put a backup back, into places that are still empty.

    Raises:
        BackupError: the backup is incomplete or damaged, or something is there already.
    """
    manifest = verify(source)
    occupied = [str(folder) for folder in _folders(settings).values() if _has_files(folder)]
    if occupied:
        raise BackupError(f"{occupied[0]} holds files already: restore into an empty place")
    with closing(Database(settings.database.url)) as database:
        if current_revision(database) is not None:
            raise BackupError("the database has tables already: restore into an empty one")
        if database.is_sqlite != (manifest.backend == "sqlite"):
            raise BackupError(f"this is a backup of {manifest.backend}, set database.url to one")
        report("database")
        _load(database, source)
        with database.engine.connect() as connection:
            rows = _count_rows(connection)
    if rows != manifest.rows:
        raise BackupError("the restored database has other numbers of rows than the backup")
    images = ImageStore(settings.storage.url)
    for path in sorted((source / "images").rglob("*")):
        if path.is_file():
            report(f"picture {path.name[:12]}")
            images.put(path.read_bytes())
    for name, folder in _folders(settings).items():
        if (source / name).is_dir():
            report(name)
            shutil.copytree(source / name, folder, dirs_exist_ok=True)
    return manifest


def verify(source: Path) -> BackupManifest:
    """Check that a backup is whole: every file is there and has its hash.

    Raises:
        BackupError: it is not; says which file.
    """
    try:
        manifest = BackupManifest.model_validate_json((source / MANIFEST_NAME).read_bytes())
    except OSError as error:
        raise BackupError(f"{source} is no complete backup: it has no {MANIFEST_NAME}") from error
    except ValidationError as error:
        raise BackupError(f"{source / MANIFEST_NAME}: {first_fault(error)}") from error
    found = dict(_hashes(source))
    for name in sorted(manifest.files.keys() | found.keys()):
        if manifest.files.get(name) != found.get(name):
            raise BackupError(f"backup {source}: {name} is missing, surplus or changed")
    return manifest


def _folders(settings: Settings) -> dict[str, Path]:
    folders = {
        "tuf": settings.tuf.dir,
        "tuf-keys": settings.tuf.keys_dir,
        "bundles": settings.retraining.bundles_dir,
    }
    if "://" not in settings.storage.snapshots_url:
        folders["snapshots"] = Path(settings.storage.snapshots_url)
    return folders


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _hashes(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MANIFEST_NAME:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            yield path.relative_to(folder).as_posix(), digest


def _count_rows(connection: Connection) -> dict[str, int]:
    return {
        table.name: connection.scalar(select(func.count()).select_from(table)) or 0
        for table in Base.metadata.sorted_tables
    }


def _dump(database: Database, target: Path) -> dict[str, int]:
    if database.is_sqlite:
        copy = target / SQLITE_NAME
        with (
            closing(sqlite3.connect(str(database.url.database))) as original,
            closing(sqlite3.connect(copy)) as backup,
        ):
            original.backup(backup)
        with closing(Database(f"sqlite:///{copy}")) as copied, copied.read() as session:
            rows = _count_rows(session.connection())
        with closing(sqlite3.connect(copy)) as backup:
            backup.execute("PRAGMA journal_mode = DELETE")  # one file, no -wal beside it
        return rows
    # Counted in the very snapshot that pg_dump reads, while ingest goes on.
    engine = database.engine.execution_options(isolation_level="REPEATABLE READ")
    with engine.connect() as connection:
        snapshot = connection.scalar(text("SELECT pg_export_snapshot()"))
        rows = _count_rows(connection)
        file = f"--file={target / POSTGRESQL_NAME}"
        _run_tool(database, "pg_dump", "--format=custom", f"--snapshot={snapshot}", file)
    return rows


def _load(database: Database, source: Path) -> None:
    if database.is_sqlite:
        path = Path(str(database.url.database))
        database.close()
        for suffix in ("", "-wal", "-shm"):  # empty: it was just looked at
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        shutil.copyfile(source / SQLITE_NAME, path)
    else:
        dump = str(source / POSTGRESQL_NAME)
        _run_tool(
            database, "pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", dump
        )


def _run_tool(database: Database, tool: str, *arguments: str) -> None:
    program = shutil.which(tool)
    if program is None:
        raise ConfigurationError(f"{tool} is not installed: apt-get install postgresql-client")
    url = database.url.set(drivername="postgresql", password=None)
    environment = os.environ | {"PGPASSWORD": str(database.url.password or "")}
    done = subprocess.run(  # noqa: S603 - a fixed program, arguments of our own
        [program, f"--dbname={url.render_as_string()}", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise BackupError(f"{tool} failed: {lines[-1]}")

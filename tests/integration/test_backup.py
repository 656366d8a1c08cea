"""What is backed up comes back, byte for byte, and damage is found before anything is touched."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cloud.backup import BackupError, back_up, restore, verify
from cloud.db.migration import migrate
from cloud.db.session import Database
from cloud.db.tables import AuditEntry, Role, User
from cloud.image_store import ImageStore
from cloud.settings import Settings


def settings_for(folder: Path, url: str) -> Settings:
    folder.mkdir(exist_ok=True)
    plain: dict[str, Any] = {"database": {"url": url}}
    return Settings(**plain).anchored(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def urls(request: pytest.FixtureRequest) -> tuple[str, str]:
    if request.param == "sqlite":
        return "sqlite:///cloud.db", "sqlite:///cloud.db"
    first = request.getfixturevalue("postgresql_url")
    name = f"{first.rsplit('/', 1)[1]}_restored"
    database = Database(first)
    with database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(
            f'CREATE DATABASE "{name}"'
        )
    database.close()
    return first, f"{first.rsplit('/', 1)[0]}/{name}"


@pytest.fixture
def original(tmp_path: Path, urls: tuple[str, str]) -> Settings:
    settings = settings_for(tmp_path / "original", urls[0])
    database = Database(settings.database.url)
    migrate(database)
    with database.write() as session:
        now = datetime.now(UTC)
        session.add(User(name="ann", role=Role.ML, is_active=True, created_at=now))
        session.add(AuditEntry(at=now, actor="ann", action="set user", subject="ann", details={}))
    database.close()
    store = ImageStore(settings.storage.url)
    for number in range(3):
        store.put(b"picture %d" % number)
    settings.tuf.keys_dir.mkdir(parents=True)
    (settings.tuf.keys_dir / "targets.pem").write_text("key")
    return settings


def test_a_backup_comes_back_with_the_same_counts_and_hashes(
    original: Settings, urls: tuple[str, str], tmp_path: Path
) -> None:
    made = back_up(original, tmp_path / "backup")
    assert (made.rows["users"], made.rows["audit_log"]) == (1, 1)
    fresh = settings_for(tmp_path / "fresh", urls[1])
    assert restore(fresh, tmp_path / "backup") == made
    store = ImageStore(fresh.storage.url)
    assert sorted(store.all_hashes()) == sorted(ImageStore(original.storage.url).all_hashes())
    again = back_up(fresh, tmp_path / "again")
    assert again.rows == made.rows
    pictures = {name: sha256 for name, sha256 in made.files.items() if "database" not in name}
    assert pictures == {name: again.files[name] for name in pictures}
    with pytest.raises(BackupError, match="already"):
        restore(fresh, tmp_path / "backup")


def test_a_damaged_or_unfinished_backup_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    settings = settings_for(tmp_path / "original", "sqlite:///cloud.db")
    database = Database(settings.database.url)
    migrate(database)
    database.close()
    sha256 = ImageStore(settings.storage.url).put(b"picture")
    folder = tmp_path / "backup"
    back_up(settings, folder)
    (folder / "images" / sha256[:2] / sha256).write_bytes(b"pictura")
    fresh = settings_for(tmp_path / "fresh", "sqlite:///cloud.db")
    with pytest.raises(BackupError, match=sha256):
        restore(fresh, folder)
    assert list((tmp_path / "fresh").iterdir()) == []
    (folder / "backup.json").unlink()
    with pytest.raises(BackupError, match="no complete backup"):
        verify(folder)
    with pytest.raises(BackupError, match="not empty"):
        back_up(settings, folder)

"""The signed repository, read by the very client that cells use, over HTTP."""

import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tuf.api.exceptions import BadVersionNumberError, DownloadError
from tuf.api.exceptions import RepositoryError as ClientRejection
from tuf.ngclient import Updater

from cloud.settings import TufSettings
from cloud.tuf_repository import RepositoryError, TufRepository

TARGET = "plate/r000001.tar"
CUSTOM: dict[str, int | str] = {"release": 1, "bundle_id": "0123456789abcdef"}


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing: a test's output is for its failures."""


def settings_in(folder: Path) -> TufSettings:
    return TufSettings(
        dir=folder / "tuf",
        keys_dir=folder / "keys",
        offline_keys_dir=folder / "offline",
        root_file=folder / "root.json",
    )


@pytest.fixture
def repository(tmp_path: Path) -> TufRepository:
    made = TufRepository(settings_in(tmp_path))
    made.ensure()
    return made


@pytest.fixture
def url(repository: TufRepository) -> Iterator[str]:
    folder = repository.metadata_folder.parent
    handler = partial(QuietHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(5)
    server.server_close()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "bundle.tar"
    path.write_bytes(b"model" * 1000)
    return path


def client(url: str, cell: Path, root: bytes) -> Updater:
    (cell / "targets").mkdir(parents=True, exist_ok=True)
    return Updater(
        str(cell / "metadata"),
        f"{url}/metadata/",
        str(cell / "targets"),
        f"{url}/targets/",
        bootstrap=root,
    )


def test_a_cell_downloads_exactly_what_was_published(
    repository: TufRepository, url: str, archive: Path, tmp_path: Path
) -> None:
    repository.publish(TARGET, archive, CUSTOM)
    updater = client(url, tmp_path / "cell", repository.root_path.read_bytes())
    info = updater.get_targetinfo(TARGET)
    assert info is not None
    assert info.unrecognized_fields["custom"] == CUSTOM
    assert Path(updater.download_target(info)).read_bytes() == archive.read_bytes()
    assert repository.targets() == {TARGET: CUSTOM}


def test_a_changed_byte_in_the_archive_is_rejected(
    repository: TufRepository, url: str, archive: Path, tmp_path: Path
) -> None:
    repository.publish(TARGET, archive, CUSTOM)
    (stored,) = repository.targets_folder.rglob("*.tar")
    content = bytearray(stored.read_bytes())
    content[100] ^= 1
    stored.write_bytes(content)
    updater = client(url, tmp_path / "cell", repository.root_path.read_bytes())
    info = updater.get_targetinfo(TARGET)
    assert info is not None
    with pytest.raises(ClientRejection):
        updater.download_target(info)


def test_changed_metadata_is_rejected(
    repository: TufRepository, url: str, archive: Path, tmp_path: Path
) -> None:
    repository.publish(TARGET, archive, CUSTOM)
    path = repository.metadata_folder / "2.targets.json"
    path.write_text(path.read_text().replace('"release":1', '"release":9'))
    updater = client(url, tmp_path / "cell", repository.root_path.read_bytes())
    with pytest.raises(ClientRejection):
        updater.get_targetinfo(TARGET)


def test_another_repository_with_other_keys_is_rejected(url: str, tmp_path: Path) -> None:
    stranger = TufRepository(settings_in(tmp_path / "stranger"))
    stranger.ensure()
    with pytest.raises(ClientRejection):
        client(url, tmp_path / "cell", stranger.root_path.read_bytes()).refresh()


def test_an_older_state_played_back_is_rejected(
    repository: TufRepository, url: str, archive: Path, tmp_path: Path
) -> None:
    old = (repository.metadata_folder / "timestamp.json").read_bytes()
    root = repository.root_path.read_bytes()
    repository.publish(TARGET, archive, CUSTOM)
    client(url, tmp_path / "cell", root).refresh()
    (repository.metadata_folder / "timestamp.json").write_bytes(old)
    with pytest.raises(BadVersionNumberError):
        client(url, tmp_path / "cell", root).refresh()


def test_a_withdrawn_release_can_no_longer_be_had(
    repository: TufRepository, url: str, archive: Path, tmp_path: Path
) -> None:
    repository.publish(TARGET, archive, CUSTOM)
    root = repository.root_path.read_bytes()
    info = client(url, tmp_path / "cell", root).get_targetinfo(TARGET)
    assert info is not None
    repository.withdraw(TARGET)
    updater = client(url, tmp_path / "cell", root)
    assert updater.get_targetinfo(TARGET) is None
    with pytest.raises(DownloadError):
        updater.download_target(info)


def test_publishing_twice_is_harmless_but_never_changes_a_release(
    repository: TufRepository, archive: Path
) -> None:
    repository.publish(TARGET, archive, CUSTOM)
    repository.publish(TARGET, archive, CUSTOM)
    archive.write_bytes(b"other")
    with pytest.raises(RepositoryError, match="published before with other contents"):
        repository.publish(TARGET, archive, CUSTOM)


def test_metadata_is_signed_again_before_it_expires(
    repository: TufRepository, url: str, archive: Path, tmp_path: Path
) -> None:
    repository.publish(TARGET, archive, CUSTOM)
    root = repository.root_path.read_bytes()
    assert not repository.refresh()
    shutil.rmtree(tmp_path / "offline")  # the root key is not needed to keep going
    for days in (0.6 * 7, 0.6 * 30, 0.6 * 365):
        later = datetime.now(UTC) + timedelta(days=days)
        aged = TufRepository(
            settings_in(tmp_path), clock=partial(datetime.fromtimestamp, later.timestamp(), UTC)
        )
        assert aged.refresh()
        assert not aged.refresh()
    assert client(url, tmp_path / "cell", root).get_targetinfo(TARGET) is not None


def test_a_publisher_that_died_before_the_timestamp_left_nothing_to_see(
    repository: TufRepository, url: str, archive: Path, tmp_path: Path
) -> None:
    before = (repository.metadata_folder / "timestamp.json").read_bytes()
    repository.publish(TARGET, archive, CUSTOM)
    (repository.metadata_folder / "timestamp.json").write_bytes(before)  # as if it died there
    root = repository.root_path.read_bytes()
    assert client(url, tmp_path / "cell", root).get_targetinfo(TARGET) is None
    repository.publish(TARGET, archive, CUSTOM)
    assert client(url, tmp_path / "cell", root).get_targetinfo(TARGET) is not None


@pytest.mark.usefixtures("repository")
def test_private_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    keys = [*(tmp_path / "keys").iterdir(), *(tmp_path / "offline").iterdir()]
    assert {path.name for path in keys} == {
        "root.pem",
        "snapshot.pem",
        "targets.pem",
        "timestamp.pem",
    }
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}


def test_lost_online_keys_are_told_in_one_line(
    repository: TufRepository, archive: Path, tmp_path: Path
) -> None:
    (tmp_path / "keys" / "targets.pem").unlink()
    with pytest.raises(RepositoryError, match=r"targets\.pem is gone"):
        repository.publish(TARGET, archive, CUSTOM)

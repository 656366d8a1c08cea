"""What a cell accepts from the signed repository, over HTTP."""

import io
import tarfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cloud.settings import TufSettings
from cloud.tuf_repository import TufRepository
from edge_agent.adapters import tuf_client
from edge_agent.adapters.resuming_fetcher import CHUNK_BYTES
from edge_agent.adapters.tuf_client import TufClient, unpack
from edge_agent.errors import ConfigurationError, ReleaseUnavailableError, UpdateError
from models.contract.bundle import ModelRef, target_path

REF = ModelRef(release=2, bundle_id="0123456789abcdef", name="plate")
CUSTOM: dict[str, int | str] = {"release": 2, "bundle_id": REF.bundle_id}
CONTENT = bytes(range(256)) * 8_000


class Server:
    """Serves a folder with byte ranges; it can break off every answer after so many bytes."""

    def __init__(self, folder: Path) -> None:
        self.cut_after: int | None = None
        self.ranges: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = folder / self.path.lstrip("/")
                if not path.is_file():
                    self.send_error(404)
                    return
                data = path.read_bytes()
                start = 0
                if wanted := self.headers.get("Range"):
                    server.ranges.append(wanted)
                    start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                self.send_response(206 if wanted else 200)
                self.send_header("Content-Length", str(len(data) - start))
                self.end_headers()
                is_cut = server.cut_after is not None and path.suffix == ".tar"
                self.wfile.write(data[start : server.cut_after if is_cut else None])
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing: a test's output is for its failures."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread.start()

    def stop(self) -> None:
        self._http.shutdown()
        self._thread.join(5)
        self._http.server_close()


def make_repository(folder: Path, *, at: datetime | None = None) -> TufRepository:
    settings = TufSettings(
        dir=folder / "tuf",
        keys_dir=folder / "keys",
        offline_keys_dir=folder / "offline",
        root_file=folder / "root.json",
    )
    repository = TufRepository(settings, clock=lambda: at or datetime.now(UTC))
    repository.ensure()
    return repository


def make_archive(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


@pytest.fixture
def repository(tmp_path: Path) -> TufRepository:
    return make_repository(tmp_path)


@pytest.fixture
def server(repository: TufRepository) -> Iterator[Server]:
    server = Server(repository.metadata_folder.parent)
    yield server
    server.stop()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make_archive(tmp_path / "b.tar", {"manifest.json": b"{}", "model.bin": CONTENT})


def client(server: Server, tmp_path: Path, root: Path | None = None) -> TufClient:
    return TufClient(
        server.url,
        root=root or tmp_path / "root.json",
        folder=tmp_path / "cell",
        timeout_s=2.0,
    )


def publish(repository: TufRepository, archive: Path) -> None:
    repository.publish(target_path(REF.name, REF.release), archive, CUSTOM)


def stored_archive(repository: TufRepository) -> Path:
    (path,) = repository.targets_folder.rglob("*.tar")
    return path


def test_a_release_arrives_unpacked(
    repository: TufRepository, server: Server, archive: Path, tmp_path: Path
) -> None:
    publish(repository, archive)
    folder = client(server, tmp_path).fetch(REF, into=tmp_path / "in")
    assert (folder / "model.bin").read_bytes() == CONTENT
    assert list((tmp_path / "cell" / "downloads").iterdir()) == []


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_download_that_breaks_off_goes_on_where_it_stopped(
    repository: TufRepository, server: Server, archive: Path, tmp_path: Path, share: float
) -> None:
    publish(repository, archive)
    size = stored_archive(repository).stat().st_size
    server.cut_after = int(size * share)
    with pytest.raises(ReleaseUnavailableError, match="broke off"):
        client(server, tmp_path).fetch(REF, into=tmp_path / "in")
    server.cut_after = None
    folder = client(server, tmp_path).fetch(REF, into=tmp_path / "in")
    assert (folder / "model.bin").read_bytes() == CONTENT
    (wanted,) = server.ranges or ["bytes=0-"]
    start = int(wanted.removeprefix("bytes=").removesuffix("-"))
    assert size * share - CHUNK_BYTES <= start <= size * share


def test_piece_that_was_changed_on_the_disk_is_fetched_anew(
    repository: TufRepository, server: Server, archive: Path, tmp_path: Path
) -> None:
    publish(repository, archive)
    server.cut_after = 10_000
    with pytest.raises(ReleaseUnavailableError):
        client(server, tmp_path).fetch(REF, into=tmp_path / "in")
    (part,) = (tmp_path / "cell" / "downloads").glob("*.part")
    part.write_bytes(b"?" * 10_000)
    server.cut_after = None
    folder = client(server, tmp_path).fetch(REF, into=tmp_path / "in")
    assert (folder / "model.bin").read_bytes() == CONTENT


def test_tampered_archive_is_refused(
    repository: TufRepository, server: Server, archive: Path, tmp_path: Path
) -> None:
    publish(repository, archive)
    path = stored_archive(repository)
    data = bytearray(path.read_bytes())
    data[5_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(UpdateError, match="refused"):
        client(server, tmp_path).fetch(REF, into=tmp_path / "in")


def test_tampered_metadata_is_refused(
    repository: TufRepository, server: Server, archive: Path, tmp_path: Path
) -> None:
    publish(repository, archive)
    path = repository.metadata_folder / "2.targets.json"
    path.write_text(path.read_text().replace('"release":2', '"release":9'))
    with pytest.raises(UpdateError, match="metadata was refused"):
        client(server, tmp_path).fetch(REF, into=tmp_path / "in")


def test_older_state_played_back_is_refused(
    repository: TufRepository, server: Server, archive: Path, tmp_path: Path
) -> None:
    timestamp = repository.metadata_folder / "timestamp.json"
    old = timestamp.read_bytes()
    publish(repository, archive)
    client(server, tmp_path).confirm(REF)
    timestamp.write_bytes(old)
    with pytest.raises(UpdateError, match="metadata was refused"):
        client(server, tmp_path).confirm(REF)


def test_expired_metadata_is_refused(archive: Path, tmp_path: Path) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=5_000)
    repository = make_repository(tmp_path, at=long_ago)
    publish(repository, archive)
    server = Server(repository.metadata_folder.parent)
    try:
        with pytest.raises(UpdateError, match="expired"):
            client(server, tmp_path).confirm(REF)
    finally:
        server.stop()


def test_repository_of_a_stranger_is_refused(server: Server, tmp_path: Path) -> None:
    make_repository(tmp_path / "stranger")
    with pytest.raises(UpdateError, match="metadata was refused"):
        client(server, tmp_path, tmp_path / "stranger" / "root.json").confirm(REF)


def test_release_that_is_signed_for_another_bundle_is_refused(
    repository: TufRepository, server: Server, archive: Path, tmp_path: Path
) -> None:
    publish(repository, archive)
    other = REF.model_copy(update={"bundle_id": "f" * 16})
    with pytest.raises(UpdateError, match="another bundle"):
        client(server, tmp_path).fetch(other, into=tmp_path / "in")


def test_release_that_is_not_published_is_told(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UpdateError, match=r"plate/r000002\.tar is not published"):
        client(server, tmp_path).confirm(REF)


def test_server_that_does_not_answer_is_tried_again_later(server: Server, tmp_path: Path) -> None:
    reachable = client(server, tmp_path)
    server.stop()
    with pytest.raises(ReleaseUnavailableError, match="update server"):
        reachable.confirm(REF)


def test_missing_root_is_told_at_start(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        client(server, tmp_path, tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        pytest.param("../outside", "cannot be unpacked", id="path that leads out"),
        pytest.param("/etc/outside", r"no manifest\.json", id="absolute path is made relative"),
    ],
)
def test_archive_never_writes_outside_its_folder(tmp_path: Path, name: str, cause: str) -> None:
    archive = make_archive(tmp_path / "bad.tar", {name: b"x"})
    with pytest.raises(UpdateError, match=cause):
        unpack(archive, tmp_path / "in" / "r1")
    assert not (tmp_path / "in" / "outside").exists()
    assert not Path("/etc/outside").exists()


def test_archive_with_a_link_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "link.tar"
    with tarfile.open(path, "w") as tar:
        entry = tarfile.TarInfo("manifest.json")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(entry)
    with pytest.raises(UpdateError, match="other than files"):
        unpack(path, tmp_path / "in")


def test_archive_that_would_fill_the_disk_is_refused(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuf_client, "MAX_UNPACKED_BYTES", 1_000)
    with pytest.raises(UpdateError, match="too many"):
        unpack(archive, tmp_path / "in")

"""A cloud that signs releases: a TUF repository behind a server of its own, slow when asked to."""

import shutil
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

from cloud.settings import TufSettings
from cloud.tuf_repository import TufRepository
from models.contract.bundle import (
    BundleManifest,
    ModelRef,
    bundle_id_of,
    hash_files,
    read_manifest,
    target_path,
)
from models.contract.messages import DesiredModel
from models.contract.topics import Channel
from simulators.broker_link import BrokerAddress, BrokerLink

from .plant import BUNDLE, CELL, Plant

CHUNK_BYTES = 64 * 1024
SLOW_BYTES_PER_S = 4_000_000
"""A plant's 30 Mbit/s: the padded archive takes longer than a measurement."""
PADDING_BYTES = 400_000_000


class Downloads:
    """Makes releases of the released bundle that differ in nothing but their identity."""

    def __init__(self, folder: Path, *, bytes_per_s: float | None = SLOW_BYTES_PER_S) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder = folder
        self._release = 0
        self._repository = TufRepository(
            TufSettings(
                dir=folder / "tuf",
                keys_dir=folder / "keys",
                offline_keys_dir=folder / "offline",
                root_file=folder / "root.json",
            )
        )
        self._repository.ensure()
        handler = partial(_Handler, directory=str(folder / "tuf"), bytes_per_s=bytes_per_s)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="downloads")

    def __enter__(self) -> "Downloads":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """What an agent must be told to follow these releases."""
        url = f"http://127.0.0.1:{self._server.server_port}"
        return {
            "update": {
                "enabled": True, "base_url": url, "root": str(self.folder / "root.json"),
            }
        }  # fmt: skip

    def publish(self, *, padding_bytes: int = 0) -> ModelRef:
        """Sign one more release."""
        self._release += 1
        bundle = self.folder / "bundle"
        shutil.rmtree(bundle, ignore_errors=True)
        shutil.copytree(BUNDLE, bundle, ignore=shutil.ignore_patterns("float", "card.*"))
        known = read_manifest(BUNDLE)
        (bundle / "note.txt").write_text(f"release {self._release}\n")
        if padding_bytes:
            with (bundle / "padding.bin").open("wb") as padding:
                padding.truncate(padding_bytes)
        (bundle / "manifest.json").unlink()
        files = hash_files(bundle)
        fields = known.model_dump() | {"files": files, "bundle_id": bundle_id_of(files)}
        manifest = BundleManifest.model_validate(fields)
        (bundle / "manifest.json").write_text(manifest.model_dump_json())
        ref = ModelRef(release=self._release, bundle_id=manifest.bundle_id, name=manifest.name)
        archive = self.folder / "archive.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(bundle, arcname=".")
        custom: dict[str, int | str] = {"release": ref.release, "bundle_id": ref.bundle_id}
        self._repository.publish(target_path(ref.name, ref.release), archive, custom)
        archive.unlink()
        return ref

    @contextmanager
    def wanted(self, plant: Plant) -> Iterator[None]:
        """While the block runs the cell downloads a model that is larger than it can get."""
        ref = self.publish(padding_bytes=PADDING_BYTES)
        link = BrokerLink(
            BrokerAddress("127.0.0.1", plant.uplink_broker.port),
            "release-desk",
            subscriptions=[],
            on_message=lambda *_: None,
        )
        link.start()
        desire(link, ref)
        time.sleep(1.0)
        yield
        link.stop()


def desire(
    link: BrokerLink, ref: ModelRef, *, shadow_parts: int = 20, canary_parts: int = 20
) -> None:
    """Tell a cell what it should run."""
    desired = DesiredModel(
        model=ref,
        rollout_id=f"R{ref.release}",
        shadow_parts=shadow_parts,
        canary_parts=canary_parts,
        issued_at=datetime.now(UTC),
    )
    link.publish(CELL.topic(Channel.DESIRED_MODEL), desired.to_bytes(), retain=True)


class _Handler(SimpleHTTPRequestHandler):
    def __init__(  # the base's arguments go through as they are
        self,
        *args: Any,  # noqa: ANN401
        bytes_per_s: float | None,
        **named: Any,  # noqa: ANN401
    ) -> None:
        self._bytes_per_s = bytes_per_s
        super().__init__(*args, **named)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""

    def copyfile(self, source: IO[bytes], outputfile: IO[bytes]) -> None:  # type: ignore[override]
        try:
            while chunk := source.read(CHUNK_BYTES):
                outputfile.write(chunk)
                if self._bytes_per_s:
                    time.sleep(len(chunk) / self._bytes_per_s)
        except OSError:
            return  # the cell went away

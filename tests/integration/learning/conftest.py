"""A cloud of the test's own: database, image store, bundles and a base snapshot, all tiny."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from cloud.dataset import Datasets
from cloud.db.migration import migrate
from cloud.db.session import Database
from cloud.db.tables import Cell, Image, Result, ReviewStatus
from cloud.image_store import ImageStore
from cloud.labeling import Labeling
from cloud.settings import Settings
from models.contract.bundle import CategoryKind, bundle_id_of, hash_files
from models.contract.messages import FollowMode, ModelPhase, ResultState, Verdict

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)


@dataclass
class Clock:
    """A wall clock that only moves when it is told to."""

    moment: datetime = START

    def __call__(self) -> datetime:
        return self.moment

    def forward(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def forward(clock: Clock) -> Callable[[float], None]:
    """Moves the clock on by some seconds."""
    return clock.forward


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Default settings with every file below the test's folder."""
    return Settings.model_validate({"auth": {"require_login": False}}).anchored(tmp_path)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file to copy: migrating takes longer than most tests here."""
    path = tmp_path_factory.mktemp("database") / "empty.db"
    made = Database(f"sqlite:///{path}")
    migrate(made)
    made.close()
    return path


@pytest.fixture
def database(settings: Settings, empty_database: Path) -> Iterator[Database]:
    made = Database(settings.database.url)
    shutil.copyfile(empty_database, str(made.url.database))
    yield made
    made.close()


@pytest.fixture
def images(settings: Settings) -> ImageStore:
    return ImageStore(settings.storage.url)


@pytest.fixture
def labeling(database: Database) -> Labeling:
    found = Labeling(database)
    found.add_category("bolt", CategoryKind.OBJECT, actor="anna")
    found.add_category("torn_label", CategoryKind.DEFECT, actor="anna")
    return found


@pytest.fixture
def datasets(database: Database, images: ImageStore, settings: Settings) -> Datasets:
    return Datasets(database, read_image=images.get, root_url=settings.storage.snapshots_url)


AddImage = Callable[..., str]


@pytest.fixture
def add_image(database: Database, images: ImageStore) -> AddImage:
    """Store a picture as ingest does; gives its SHA-256."""

    def add(
        number: int,
        *reasons: str,
        cell: str = "plant/area/line1/cell1",
        detections: tuple[dict[str, Any], ...] = (),
    ) -> str:
        content = f"picture {number}".encode()
        sha256 = images.put(content)
        moment = START + timedelta(seconds=number)
        result_id = uuid4()
        shared: dict[str, Any] = {
            "cell": cell,
            "boot_id": UUID(int=1),
            "seq": number + 1,
            "created_at": moment,
            "received_at": moment,
            "result_id": result_id,
            "part_id": f"P{number}",
            "view": "main",
            "hard_reasons": list(reasons),
        }
        with database.write() as session:
            session.add(
                Image(
                    sha256=sha256,
                    content_type="image/png",
                    num_bytes=len(content),
                    width_px=64,
                    height_px=48,
                    status=ReviewStatus.PENDING,
                    revision=0,
                    **shared,
                )
            )
            session.add(
                Result(
                    job_id=uuid4(),
                    trigger_id=f"T{number}",
                    verdict=Verdict.OK,
                    is_partial=False,
                    result_state=ResultState.COMPLETED,
                    reasons=[],
                    detections=list(detections),
                    recipe_id="plate",
                    recipe_version=1,
                    processing_ms=10.0,
                    inference_ms=5.0,
                    image_width_px=64,
                    image_height_px=48,
                    is_simulated=True,
                    **shared,
                )
            )
        return sha256

    return add


MakeBundle = Callable[..., Path]


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """Write a folder that is a bundle in every respect but that no network is in it."""

    def make(text: str = "baseline", *categories: str, with_float: bool = True) -> Path:
        folder = tmp_path / "made" / text
        (folder / "golden").mkdir(parents=True)
        (folder / "model.xml").write_text(text)
        (folder / "golden" / "0.png").write_bytes(b"png")
        if with_float:
            (folder / "float").mkdir()
            (folder / "float" / "weights.weights.h5").write_bytes(b"h5")
        files = hash_files(folder)
        manifest = {
            "bundle_id": bundle_id_of(files),
            "name": "plate",
            "created_at": START.isoformat(),
            "categories": [{"name": name} for name in categories or ("bolt",)],
            "thresholds": {},
            "files": files,
            "golden": [{"file": "golden/0.png", "detections": []}],
            "metrics": {"map50": 0.7},
        }
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    return make


@pytest.fixture
def base_snapshot(tmp_path: Path) -> Path:
    """An imported snapshot without pictures."""
    folder = tmp_path / "imported"
    folder.mkdir()
    identity = hashlib.sha256().hexdigest()[:16]
    manifest = {
        "snapshot_id": identity,
        "created_at": START.isoformat(),
        "categories": [{"name": "bolt", "kind": "object"}],
        "splits": {},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


AddCell = Callable[..., str]


@pytest.fixture
def add_cell(database: Database) -> AddCell:
    """Let a cell appear, or report again."""

    def add(
        name: str,
        *,
        online: bool = True,
        runs: int = 0,
        wants: int | None = None,
        rollout_id: str | None = None,
        phase: ModelPhase = ModelPhase.ACTIVE,
        error: str = "",
    ) -> str:
        path = f"plant/area/line/{name}"

        def ref(release: int) -> dict[str, Any]:
            return {"release": release, "bundle_id": f"{release:016x}", "name": "plate"}

        with database.write() as session:
            cell = session.get(Cell, path)
            if cell is None:
                cell = Cell(cell=path, first_seen_at=START, mode=FollowMode.FOLLOW)
                session.add(cell)
            cell.status = {"cell": path, "connection": "online" if online else "offline"}
            cell.reported = {
                "cell": path,
                "boot_id": str(UUID(int=1)),
                "agent_version": "0.1.0",
                "model": ref(runs),
                "desired": ref(wants) if wants is not None else None,
                "rollout_id": rollout_id,
                "phase": phase,
                "error": error,
                "sent_at": START.isoformat(),
            }
        return path

    return add


TRAINER = Path(__file__).with_name("fake_trainer.py")


@pytest.fixture
def trainer_command() -> tuple[str, ...]:
    """A program that behaves like ``sightline-train`` towards the cloud."""
    return sys.executable, str(TRAINER)

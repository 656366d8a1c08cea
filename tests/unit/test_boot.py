"""Which model an agent starts with."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_agent import boot
from edge_agent.errors import ConfigurationError, ModelFault
from edge_agent.model_store import StoredModel
from edge_agent.ports import Image, LoadedModel
from edge_agent.sections import (
    CameraSettings,
    CellSettings,
    RecipeSettings,
    UpdateSettings,
)
from edge_agent.settings import Settings
from models.contract.bundle import BundleManifest, Category, ModelRef
from models.contract.recipe import ExpectedObject, Recipe, View
from models.detector.detections import Detections

RECIPE = Recipe(
    recipe_id="plate",
    version=1,
    part_type="plate",
    image_width_px=64,
    image_height_px=48,
    views=(View(expected=(ExpectedObject(name="bolt 1", category="bolt"),)),),
)


class Silent:
    def __init__(self, categories: tuple[str, ...]) -> None:
        self.categories = categories
        self.thresholds: dict[str, float] = {}
        self.is_closed = False

    def infer(self, image: Image) -> Detections:  # noqa: ARG002
        return Detections.empty()

    def close(self) -> None:
        self.is_closed = True


class Store:
    """Offers releases in this order; nothing but `boot_order` is asked at a start."""

    def __init__(self, *releases: int) -> None:
        self.releases = releases

    def boot_order(self) -> Iterator[StoredModel]:
        for release in self.releases:
            ref = ModelRef(release=release, bundle_id=f"{release:016x}", name="plate")
            yield StoredModel(ref, Path(f"r{release}"))


def settings(tmp_path: Path, *, updates: bool = False) -> Settings:
    return Settings(
        cell=CellSettings(site="s", area="a", line="l", cell="c"),
        camera=CameraSettings(path=tmp_path),
        recipe=RecipeSettings(path=tmp_path),
        update=UpdateSettings(enabled=updates, root=tmp_path / "root.json"),
    )


@pytest.fixture
def start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[LoadedModel | None, list[Silent]]]:
    """Boot from releases of which some are broken, blind to bolts, or answer otherwise."""
    detectors: list[Silent] = []

    def start(
        *releases: int,
        broken: int | None = None,
        blind: int | None = None,
        changed: int | None = None,
        updates: bool = False,
    ) -> tuple[LoadedModel | None, list[Silent]]:
        def load(bundle_dir: Path, ref: ModelRef, *, loading: object) -> LoadedModel:
            assert loading is not None
            if ref.release == broken:
                raise ModelFault("broken")
            detectors.append(Silent(("nut",) if ref.release == blind else ("bolt",)))
            manifest = BundleManifest(
                bundle_id=ref.bundle_id,
                name=ref.name,
                created_at=datetime.now(UTC),
                categories=(Category(name="bolt"),),
                thresholds={},
                files={},
            )
            return LoadedModel(ref, manifest, detectors[-1], bundle_dir)

        def check(model: LoadedModel) -> None:
            if model.ref.release == changed:
                raise ModelFault("golden check failed")

        monkeypatch.setattr(boot, "load_model", load)
        monkeypatch.setattr(boot, "check_golden", check)
        wanted = settings(tmp_path, updates=updates)
        store = Store(*releases)
        return boot.boot_model(wanted, store, RECIPE), detectors  # type: ignore[arg-type]

    return start


Start = Callable[..., tuple[LoadedModel | None, list[Silent]]]


@pytest.mark.parametrize("fault", ["broken", "blind", "changed"])
def test_best_model_that_works_is_taken(start: Start, fault: str) -> None:
    model, detectors = start(9, 7, 0, **{fault: 9})
    assert model is not None
    assert model.ref.release == 7
    assert all(detector.is_closed for detector in detectors[:-1]), "none is left open"


def test_start_without_any_working_model_says_why(start: Start) -> None:
    with pytest.raises(ConfigurationError, match="broken"):
        start(0, broken=0)
    with pytest.raises(ConfigurationError, match=r"set model\.bundle"):
        start()


def test_cell_without_a_model_may_wait_for_the_first_from_the_cloud(start: Start) -> None:
    model, _ = start(updates=True)
    assert model is None

from pathlib import Path

import pytest

from models.training import default_init as module
from models.training.default_init import INIT_VARIABLE, KERAS_FILE, default_init
from models.training.fit_settings import BASELINE, IMAGENET


@pytest.fixture(autouse=True)
def _machine_without_internet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(INIT_VARIABLE, raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(module, "_is_reachable", lambda: False)


def test_imagenet_is_taken_where_keras_has_it(tmp_path: Path) -> None:
    file = tmp_path / KERAS_FILE
    file.parent.mkdir()
    file.touch()
    assert default_init() == (IMAGENET, "")


def test_without_internet_the_released_baseline_lends_its_backbone() -> None:
    init, remark = default_init()
    assert init == BASELINE
    assert "--init" in remark


def test_a_plant_names_its_own_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INIT_VARIABLE, "backbone.weights.h5")
    assert default_init()[0] == "backbone.weights.h5"

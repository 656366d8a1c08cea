"""``sightline-edge cameras``: what is there, and a picture of each."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_agent.adapters.camera_finder import usb_cameras
from edge_agent.adapters.cameras import LibraryMissingError, make_camera
from edge_agent.preflight import check
from edge_agent.sections import CameraSettings
from edge_agent.settings import load_settings

RECIPE = """
recipe_id = "grey"
version = 1
part_type = "grey"
image_width_px = 64
image_height_px = 48
[[views]]
name = "top"
[[views]]
name = "side"
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge_agent.cli", "cameras", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYLON_CAMEMU": "1"},
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index in range(2):
        cv2.imwrite(str(pictures / f"{index}.png"), np.full((48, 64, 3), 90 + index, np.uint8))
    (tmp_path / "grey.toml").write_text(RECIPE)
    path = tmp_path / "edge.toml"
    path.write_text(
        """
        [cell]
        site = "plant"
        area = "area"
        line = "line1"
        cell = "cell1"
        [camera]
        path = "pictures"
        mode = "cycle"
        [recipe]
        path = "grey.toml"
        """
    )
    return path


def test_cameras_are_listed_and_each_gives_a_picture(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "grabbed"
    done = run("--config", str(config), "--grab", str(folder), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    configured = [one for one in told["cameras"] if one["way"] == "configured"]
    assert [one["view"] for one in configured] == ["top", "side"]
    for one in configured:
        assert np.asarray(cv2.imread(one["picture"])).shape == (48, 64, 3)
    if find_spec("pypylon") is None:
        assert told["not_asked"]["pylon"].endswith("pip install 'sightline[pylon]'")
    else:
        (basler,) = (one for one in told["cameras"] if one["way"] == "pylon")
        assert basler["camera"] == {"kind": "pylon", "source": "0815-0000"}
        assert Path(basler["picture"]).is_file()


def test_configured_camera_that_is_not_there_is_a_failure(config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text().replace('path = "pictures"', 'path = "nowhere"'))
    done = run("--config", str(config), "--grab", str(tmp_path / "grabbed"))
    assert done.returncode == 1
    assert "fault     camera camera: folder" in done.stdout


def test_usb_cameras_are_told_from_their_metadata_devices(tmp_path: Path) -> None:
    for name, index in (("video0", "0"), ("video1", "1"), ("video2", "0")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text("HD Webcam\n")
        (tmp_path / name / "index").write_text(f"{index}\n")
    assert [found.settings.source for found in usb_cameras(tmp_path)] == ["0", "2"]


def test_check_config_warns_of_a_view_without_a_rule_and_refuses_a_camera_without_library(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = Path(__file__).parents[2] / "models/released/plate"
    config.write_text(config.read_text() + f'[model]\nbundle = "{released}"\n')
    findings = check(load_settings(config))
    assert [text for text in findings.warnings if "view top: nothing is expected" in text]
    monkeypatch.delitem(sys.modules, "edge_agent.adapters.pylon_device", raising=False)
    monkeypatch.setitem(sys.modules, "pypylon", None)
    config.write_text(config.read_text().replace('path = "pictures"', 'kind = "pylon"'))
    with pytest.raises(LibraryMissingError, match=r"sightline\[pylon\]"):
        check(load_settings(config))


@pytest.mark.parametrize(
    ("kind", "module", "install"),
    [
        ("pylon", "pypylon", "pip install 'sightline[pylon]'"),
        ("genicam", "harvesters.core", "pip install 'sightline[genicam]'"),
    ],
)
def test_camera_without_its_library_is_told_with_what_to_install(
    kind: str, module: str, install: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pylon_device", "gentl_device"):
        monkeypatch.delitem(sys.modules, f"edge_agent.adapters.{name}", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    settings = CameraSettings.model_validate({"kind": kind, "producer": "/maker.cti"})
    with pytest.raises(LibraryMissingError) as caught:
        make_camera(settings)
    assert install in str(caught.value)

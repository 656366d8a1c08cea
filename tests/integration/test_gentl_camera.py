"""A GenTL producer's simulated camera (viky, in the genicam package), through harvesters."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.adapters.cameras import make_camera
from edge_agent.errors import CameraFault, FeatureRefusedError
from edge_agent.ports import Camera
from edge_agent.sections import CameraSettings

pytest.importorskip(
    "harvesters", reason="harvesters is not installed: pip install 'sightline[genicam]'"
)
import genicam

from edge_agent.adapters.gentl_device import find_cameras

PRODUCER = Path(genicam.__file__).parent / "viky.cti"


@pytest.fixture
def camera() -> Iterator[Camera]:
    if not PRODUCER.is_file():
        pytest.skip(f"this genicam package has no {PRODUCER.name}")
    camera = make_camera(CameraSettings(kind="genicam", producer=PRODUCER, source="1"))
    camera.open()
    yield camera
    camera.close()


def test_producers_cameras_are_found() -> None:
    assert [found.serial for found in find_cameras(PRODUCER)] == ["0", "1", "2"]


def test_camera_is_chosen_by_its_number_and_gives_pictures(camera: Camera) -> None:
    frame = camera.grab(2.0)
    assert frame.image.shape == (400, 400, 3)
    blue, green, red = frame.image.mean(axis=(0, 1))
    assert green > max(blue, red), "camera 1 is the green one"
    camera.probe()


def test_features_are_set_put_back_and_refused(camera: Camera) -> None:
    camera.configure({"PixelFormat": "Mono8"})
    blue, green, red = camera.grab(2.0).image.mean(axis=(0, 1))
    assert blue == green == red
    camera.configure({})
    blue, green, red = camera.grab(2.0).image.mean(axis=(0, 1))
    assert green > max(blue, red)
    with pytest.raises(FeatureRefusedError, match="did you mean Width"):
        camera.configure({"Widht": 300})


def test_missing_producer_is_a_fault() -> None:
    settings = CameraSettings(kind="genicam", producer=Path("/nowhere/maker.cti"))
    with pytest.raises(CameraFault, match=r"no GenTL producer /nowhere/maker\.cti"):
        make_camera(settings).open()

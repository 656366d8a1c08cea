"""Basler's own camera emulator as a camera: own pictures, software trigger, torn frames."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_agent.adapters.cameras import make_camera
from edge_agent.adapters.genicam_camera import GenicamCamera
from edge_agent.camera_features import Features
from edge_agent.errors import BrokenFrameError, CameraFault, FeatureRefusedError
from edge_agent.sections import CameraSettings

os.environ["PYLON_CAMEMU"] = "1"  # before pylon looks for cameras
pytest.importorskip("pypylon", reason="pypylon is not installed: pip install 'sightline[pylon]'")

from edge_agent.adapters.pylon_device import PylonDevice, find_cameras

SERIAL = "0815-0000"
WIDTH, HEIGHT = 64, 48


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(3):
        image = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        cv2.imwrite(str(folder / f"{seed}.png"), image)
    return folder


@pytest.fixture
def device() -> PylonDevice:
    return PylonDevice("top", SERIAL)


@pytest.fixture
def camera(device: PylonDevice, pictures: Path) -> Iterator[GenicamCamera]:
    features: Features = {
        "ImageFilename": str(pictures),
        "ImageFileMode": "On",
        "TestImageSelector": "Off",
        "PixelFormat": "BGR8Packed",
        "Width": WIDTH,
        "Height": HEIGHT,
    }
    camera = GenicamCamera(device, features=features)
    camera.open()
    yield camera
    camera.close()


def test_each_trigger_takes_one_picture_to_the_pixel(camera: GenicamCamera, pictures: Path) -> None:
    for seed in (0, 1, 2, 0):
        wanted = np.asarray(cv2.imread(str(pictures / f"{seed}.png")))
        assert np.array_equal(camera.grab(2.0).image, wanted)


def test_torn_frame_is_taken_again_and_a_torn_series_is_reported(
    camera: GenicamCamera, device: PylonDevice
) -> None:
    device.write_feature("ForceFailedBufferCount", 1)
    device.execute("ForceFailedBuffer")
    assert camera.grab(2.0).image.shape == (HEIGHT, WIDTH, 3)
    device.write_feature("ForceFailedBufferCount", 50)
    device.execute("ForceFailedBuffer")
    with pytest.raises(BrokenFrameError, match="torn"):
        camera.grab(2.0)


def test_views_features_are_set_and_put_back_also_those_that_stop_the_stream(
    camera: GenicamCamera, device: PylonDevice
) -> None:
    before = device.read_feature("ExposureTime")
    camera.configure({"ExposureTime": 2500, "Height": 32})
    assert device.read_feature("ExposureTime") == 2500
    assert camera.grab(2.0).image.shape == (32, WIDTH, 3)
    camera.configure({})
    assert device.read_feature("ExposureTime") == before
    assert camera.grab(2.0).image.shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(FeatureRefusedError, match="did you mean ExposureTime"):
        camera.configure({"ExposureTme": 1})
    assert camera.grab(2.0).image.shape == (HEIGHT, WIDTH, 3)


def test_camera_runs_freely_where_the_recipe_says_so(camera: GenicamCamera) -> None:
    camera.configure({"TriggerMode": "Off", "AcquisitionFrameRate": 50})
    first, second = camera.grab(2.0), camera.grab(2.0)
    assert second.captured_at > first.captured_at
    camera.configure({})
    assert camera.grab(2.0).image.shape == (HEIGHT, WIDTH, 3)


def test_cameras_are_found_by_serial_number(camera: GenicamCamera) -> None:
    camera.probe()
    assert [found.serial for found in find_cameras()] == [SERIAL]
    stranger = make_camera(CameraSettings(kind="pylon", source="4711"))
    with pytest.raises(CameraFault, match="no Basler camera 4711"):
        stranger.open()


def test_removed_camera_is_noticed_while_nobody_asks_and_can_be_opened_again(
    camera: GenicamCamera, device: PylonDevice
) -> None:
    camera.grab(2.0)
    device.execute("FirePnPCallback")  # what pylon does when a camera is unplugged
    with pytest.raises(CameraFault, match="was removed"):
        _probe_until(camera, time.monotonic() + 5)
    with pytest.raises(CameraFault, match="is not open"):
        camera.grab(0.1)
    camera.open()
    assert camera.grab(2.0).image.shape == (HEIGHT, WIDTH, 3)


def _probe_until(camera: GenicamCamera, end: float) -> None:
    while time.monotonic() < end:
        camera.probe()
        time.sleep(0.02)

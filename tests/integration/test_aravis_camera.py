"""A GigE Vision camera on loopback (Aravis's fake one): the protocol, lost packets, its death."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from edge_agent.adapters.aravis_device import AravisDevice, find_cameras
from edge_agent.adapters.aravis_library import AravisMissingError, aravis
from edge_agent.adapters.cameras import make_camera
from edge_agent.adapters.genicam_camera import GenicamCamera, Shot
from edge_agent.adapters.gvcp import PORT, answers
from edge_agent.errors import BrokenFrameError, CameraFault, FeatureRefusedError, GrabTimeoutError
from edge_agent.ports import Camera
from edge_agent.sections import CameraSettings

PROGRAM = "arv-fake-gv-camera-0.8"
ADDRESS, SERIAL = "127.0.0.1", "SL01"
PATIENCE_S = 10.0
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the camera; there is one at a time, its port is the protocol's."""
    if shutil.which(PROGRAM) is None:
        pytest.skip(f"{PROGRAM} is not installed: apt-get install aravis-tools")
    try:
        aravis()
    except AravisMissingError as error:
        pytest.skip(str(error))
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> subprocess.Popen[bytes]:
        _wait_for_port()
        process = subprocess.Popen([PROGRAM, "-i", ADDRESS, "-s", SERIAL, *options])
        started.append(process)
        deadline = time.monotonic() + PATIENCE_S
        while not answers(ADDRESS):
            assert time.monotonic() < deadline, "the fake camera does not answer"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(PATIENCE_S)


def _wait_for_port() -> None:
    deadline = time.monotonic() + 60
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((ADDRESS, PORT))
            except OSError:
                assert time.monotonic() < deadline, f"UDP port {PORT} stays taken"
            else:
                return
        time.sleep(0.1)


@pytest.fixture
def camera(start: Start) -> Iterator[Camera]:
    start()
    camera = make_camera(CameraSettings(kind="aravis", source=ADDRESS))
    camera.open()
    yield camera
    camera.close()


def test_camera_is_found_and_each_trigger_takes_one_picture(camera: Camera) -> None:
    assert [(found.serial, found.address) for found in find_cameras()] == [(SERIAL, ADDRESS)]
    frames = [camera.grab(2.0) for _ in range(3)]
    assert [frame.image.shape for frame in frames] == [(512, 512, 3)] * 3
    assert len({frame.image.tobytes() for frame in frames}) == 3, "no picture came twice"
    camera.probe()


def test_views_features_are_set_and_put_back_also_those_that_stop_the_stream(
    camera: Camera,
) -> None:
    usual = camera.grab(2.0).image.mean()
    camera.configure({"ExposureTime": 2500})
    assert camera.grab(2.0).image.mean() < 0.8 * usual, "a shorter exposure is darker"
    camera.configure({"Width": 256, "PixelFormat": "RGB8"})
    assert camera.grab(2.0).image.shape == (512, 256, 3)
    camera.configure({})
    frame = camera.grab(2.0)
    assert frame.image.shape == (512, 512, 3)
    assert frame.image.mean() == pytest.approx(usual, rel=0.05)


def test_refused_feature_says_what_the_camera_wants_and_the_camera_goes_on(
    camera: Camera,
) -> None:
    for features, said in (
        ({"ExposureTme": 1}, "did you mean ExposureTime"),
        ({"ExposureTime": 1e12}, "of 10 … 1e\\+07"),
        ({"TriggerSource": "Line9"}, "wants Line0, Software"),
    ):
        with pytest.raises(FeatureRefusedError, match=said):
            camera.configure(features)
    camera.configure({})
    assert camera.grab(2.0).image.shape == (512, 512, 3)


def test_hardware_trigger_that_never_comes_is_a_timeout(camera: Camera) -> None:
    camera.configure({"TriggerMode": "On", "TriggerSource": "Line0"})
    before = time.monotonic()
    with pytest.raises(GrabTimeoutError):
        camera.grab(0.2)
    assert time.monotonic() - before < 0.5


class WatchedDevice(AravisDevice):
    """Counts what comes, whole or torn."""

    num_torn = 0

    def next_shot(self, timeout_s: float) -> Shot | None:
        shot = super().next_shot(timeout_s)
        self.num_torn += shot is not None and shot.image is None
        return shot


def test_frame_with_lost_packets_is_never_given_out(start: Start) -> None:
    # 188 packets a frame, 5 of 1000 lost: four frames of ten arrive whole, of three tries eight.
    start("-r", "5")
    device = WatchedDevice("line")
    camera = GenicamCamera(device)
    camera.open()
    num_whole = 0
    try:
        for _ in range(12):
            try:
                image = camera.grab(2.0).image
            except BrokenFrameError:
                continue
            num_whole += 1
            assert (image[:, :-1].mean(axis=(1, 2)) > 0).all(), "no row is left empty"
    finally:
        camera.close()
    assert device.num_torn > 0
    assert num_whole >= 4, f"{device.num_torn} frames came torn"


def test_dead_camera_is_noticed_at_once_and_opened_again_within_5_s(start: Start) -> None:
    process = start()
    camera = make_camera(CameraSettings(kind="aravis", source=SERIAL))
    camera.open()
    camera.grab(2.0)
    process.kill()
    process.wait(PATIENCE_S)
    before = time.monotonic()
    with pytest.raises(CameraFault):
        camera.probe()
    assert time.monotonic() - before < 0.5, "within the time that a verdict has"
    camera.close()
    with pytest.raises(CameraFault, match="answers"):
        camera.open()
    start()
    before = time.monotonic()
    camera.open()
    assert camera.grab(2.0).image.shape == (512, 512, 3)
    assert time.monotonic() - before < 5.0
    camera.close()

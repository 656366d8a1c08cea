"""Streams and videos as cameras, over the loopback interface and real files."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_agent.adapters.opencv_camera import LiveCamera, VideoCamera
from edge_agent.errors import CameraFault, GrabTimeoutError
from models.contract.messages import Verdict
from simulators.camera import CameraFault as LensFault
from simulators.camera import MjpegCamera
from simulators.dataset import jpeg_bytes
from simulators.rtsp import RtspCamera
from simulators.sources import SimulatedPart
from simulators.truth import TruePart


class GreyParts:
    """Each part is one grey value brighter than the one before."""

    def part(self, index: int) -> SimulatedPart:
        image = np.full((48, 64, 3), 20 + index % 200, np.uint8)
        truth = TruePart(f"p{index}", "a/b/c/d", (), Verdict.OK)
        return SimulatedPart(truth, jpeg_bytes(image))


@pytest.fixture
def server() -> Iterator[MjpegCamera]:
    server = MjpegCamera(GreyParts(), period_s=0.03)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def live(server: MjpegCamera) -> Iterator[LiveCamera]:
    camera = LiveCamera(server.url, open_timeout_s=2.0)
    camera.open()
    yield camera
    camera.close()


def test_frame_is_never_older_than_the_request(live: LiveCamera) -> None:
    first = live.grab(2.0)
    time.sleep(0.5)
    second = live.grab(2.0)
    num_between = second.frame_id - first.frame_id
    assert num_between > 5, "frames that came while nobody asked were dropped"
    assert int(second.image.mean()) - int(first.image.mean()) == pytest.approx(num_between, abs=2)


def test_stream_that_falls_silent_is_a_timeout_not_a_hang(
    live: LiveCamera, server: MjpegCamera
) -> None:
    live.grab(2.0)
    server.lens.fault = LensFault.GONE
    time.sleep(0.2)
    before = time.monotonic()
    with pytest.raises(GrabTimeoutError):
        live.grab(0.2)
    assert time.monotonic() - before < 1.0
    server.lens.fault = LensFault.NONE
    assert live.grab(2.0).image.shape == (48, 64, 3)


def test_stream_that_ends_is_a_fault_and_can_be_opened_again() -> None:
    server = MjpegCamera(GreyParts(), period_s=0.03)
    server.start()
    port = int(server.url.rsplit(":", 1)[1].strip("/"))
    camera = LiveCamera(server.url, open_timeout_s=1.0)
    camera.open()
    camera.grab(2.0)
    server.stop()
    deadline = time.monotonic() + 10
    while _delivers(camera):
        assert time.monotonic() < deadline, "nobody noticed that the stream ended"
    with pytest.raises(CameraFault, match="cannot be opened"):
        camera.open()
    again = MjpegCamera(GreyParts(), port=port, period_s=0.03)
    again.start()
    try:
        camera.open()
        assert camera.grab(2.0).image.shape == (48, 64, 3)
    finally:
        camera.close()
        again.stop()


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_host_that_takes_the_connection_and_says_nothing_is_given_up_in_time(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/"
        before = time.monotonic()
        with pytest.raises(CameraFault, match="cannot be opened"):
            LiveCamera(url, open_timeout_s=0.5).open()
        assert time.monotonic() - before < 3.0


def test_first_frame_may_take_longer_than_the_next_ones(server: MjpegCamera) -> None:
    camera = LiveCamera(server.url, open_timeout_s=2.0, stale_s=0.2)
    camera.open()
    try:
        server.lens.fault = LensFault.GONE
        time.sleep(0.5)
        with pytest.raises(CameraFault, match="no frame"):
            camera.probe()
        camera._newest = None  # as if none had come yet
        camera.probe()
    finally:
        camera.close()


def test_rtsp_stream_gives_fresh_frames_and_its_silence_is_noticed_while_nobody_asks() -> None:
    server = RtspCamera(GreyParts(), period_s=0.03)
    server.start()
    camera = LiveCamera(server.url, open_timeout_s=3.0, stale_s=0.5)
    try:
        camera.open()
        first, second = camera.grab(2.0), camera.grab(2.0)
        assert first.image.shape == (48, 64, 3)
        assert second.frame_id > first.frame_id
        assert int(second.image.mean()) >= int(first.image.mean())
        camera.probe()
        server.lens.fault = LensFault.GONE
        with pytest.raises(CameraFault, match=r"no frame for|the stream ended"):
            _probe_for(camera, 5.0)
    finally:
        camera.close()
        server.stop()


def test_unknown_feature_is_a_fault(live: LiveCamera) -> None:
    with pytest.raises(CameraFault, match="TriggerSource"):
        live.configure({"TriggerSource": "Line0"})


def test_video_gives_frame_after_frame_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "parts.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for grey in (50, 100, 150):
        writer.write(np.full((48, 64, 3), grey, np.uint8))
    writer.release()
    once, forever = VideoCamera(path), VideoCamera(path, loop=True)
    for camera in (once, forever):
        camera.open()
    greys = [round(float(forever.grab(0.1).image.mean()), -1) for _ in range(4)]
    assert greys == [50, 100, 150, 50]
    for _ in range(3):
        once.grab(0.1)
    with pytest.raises(CameraFault, match="at its end"):
        once.grab(0.1)
    for camera in (once, forever):
        camera.close()


def test_missing_video_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(CameraFault, match="there is no video"):
        VideoCamera(tmp_path / "nothing.avi").open()


def _probe_for(camera: LiveCamera, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        camera.probe()
        time.sleep(0.05)


def _delivers(camera: LiveCamera) -> bool:
    try:
        camera.grab(3.0)
    except CameraFault:
        return False
    return True

"""Cameras that OpenCV opens: USB, RTSP and HTTP MJPEG streams, video files."""

import logging
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np

from edge_agent.errors import CameraFault, GrabTimeoutError
from edge_agent.ports import Frame, Image

logger = logging.getLogger(__name__)

STREAM_SCHEMES = frozenset({"rtsp", "rtsps", "http", "https", "tcp", "udp"})
MAX_READ_FAULTS = 3
CLOSE_TIMEOUT_S = 5.0
# SFNC name: OpenCV property and the factor from SFNC's unit to OpenCV's (100 us in V4L2).
FEATURES: dict[str, tuple[int, float]] = {
    "ExposureTime": (cv2.CAP_PROP_EXPOSURE, 0.01),
    "Gain": (cv2.CAP_PROP_GAIN, 1.0),
    "Width": (cv2.CAP_PROP_FRAME_WIDTH, 1.0),
    "Height": (cv2.CAP_PROP_FRAME_HEIGHT, 1.0),
    "AcquisitionFrameRate": (cv2.CAP_PROP_FPS, 1.0),
}


class LiveCamera:
    """A stream that never stands still: USB, RTSP, HTTP MJPEG.

    A reader thread takes every frame, because the driver would otherwise hand out old ones; a
    grab waits for one that arrived after it was asked for. So no frame is older than its trigger
    by more than the stream's own delay.

    Args:
        source: index of a USB camera, or a URL.
        camera_id: name for messages.
        size_px: width and height to ask a USB camera for.
        open_timeout_s: for opening, and for the next frame of a stream that has stopped.
    """

    def __init__(
        self,
        source: int | str,
        *,
        camera_id: str = "camera",
        size_px: tuple[int, int] | None = None,
        open_timeout_s: float = 5.0,
    ) -> None:
        self._source = source
        self._camera_id = camera_id
        self._size_px = size_px
        self._open_timeout_s = open_timeout_s
        self._news = threading.Condition()
        self._newest: Frame | None = None
        self._newest_at = 0.0
        self._fault: str | None = "is not open"
        self._capture: cv2.VideoCapture | None = None
        self._reader: threading.Thread | None = None
        self._closing = threading.Event()

    @property
    def camera_id(self) -> str:
        """Name for messages."""
        return self._camera_id

    def open(self) -> None:
        """Connect and start to read.

        Raises:
            CameraFault: it does not answer.
        """
        self.close()
        capture = _open(self._source, self._camera_id, self._open_timeout_s)
        if self._size_px is not None:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._size_px[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._size_px[1])
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self._closing = threading.Event()
        self._capture, self._fault, self._newest = capture, None, None
        self._reader = threading.Thread(
            target=self._read, args=(capture, self._closing), name="camera", daemon=True
        )
        self._reader.start()

    def configure(self, features: Mapping[str, float | int | str | bool]) -> None:
        """Apply what OpenCV knows.

        Raises:
            CameraFault: a feature is unknown, or the camera refuses it.
        """
        _configure(self._capture, features, self._camera_id)

    def grab(self, timeout_s: float, *, part_id: str | None = None) -> Frame:  # noqa: ARG002
        """Wait for the first frame that arrives from now on.

        Raises:
            GrabTimeoutError: none came in time.
            CameraFault: the stream ended or broke.
        """
        asked_at = time.monotonic()
        with self._news:
            self._news.wait_for(
                lambda: self._fault is not None or self._newest_at > asked_at, timeout_s
            )
            if self._fault is not None:
                raise CameraFault(self._camera_id, self._fault)
            if self._newest is None or self._newest_at <= asked_at:
                raise GrabTimeoutError(self._camera_id, timeout_s)
            return self._newest

    def close(self) -> None:
        """Stop reading; the reader lets go of the device."""
        self._closing.set()
        if self._reader is not None:
            self._reader.join(CLOSE_TIMEOUT_S)
        self._reader = self._capture = None
        self._fault = "is not open"

    def _read(self, capture: cv2.VideoCapture, closing: threading.Event) -> None:
        num_frames = num_faults = 0
        while not closing.is_set() and num_faults < MAX_READ_FAULTS:
            ok, image = capture.read()
            if not ok or image is None:
                num_faults += 1
                continue
            num_faults, num_frames = 0, num_frames + 1
            frame = Frame(
                np.asarray(image, np.uint8), num_frames, datetime.now(UTC), str(self._source)
            )
            with self._news:
                if not closing.is_set():
                    self._newest, self._newest_at = frame, time.monotonic()
                    self._news.notify_all()
        capture.release()
        with self._news:
            if not closing.is_set():
                self._fault = "the stream ended"
                self._news.notify_all()


class VideoCamera:
    """A video file: each grab is the next frame.

    Args:
        path: of the file.
        camera_id: name for messages.
        loop: start again at its end.
    """

    def __init__(self, path: Path, *, camera_id: str = "camera", loop: bool = False) -> None:
        self._path = path
        self._camera_id = camera_id
        self._loop = loop
        self._capture: cv2.VideoCapture | None = None
        self._num_frames = 0

    @property
    def camera_id(self) -> str:
        """Name for messages."""
        return self._camera_id

    def open(self) -> None:
        """Open the file at its beginning.

        Raises:
            CameraFault: it is not there or no video.
        """
        self.close()
        if not self._path.is_file():
            raise CameraFault(self._camera_id, f"there is no video {self._path}")
        self._capture = _open(str(self._path), self._camera_id, timeout_s=CLOSE_TIMEOUT_S)

    def configure(self, features: Mapping[str, float | int | str | bool]) -> None:
        """A file has no exposure time."""

    def grab(self, timeout_s: float, *, part_id: str | None = None) -> Frame:  # noqa: ARG002
        """The next frame.

        Raises:
            CameraFault: the video is at its end, or was never opened.
        """
        image = self._next()
        if image is None and self._loop:
            self.open()
            image = self._next()
        if image is None:
            raise CameraFault(self._camera_id, "the video is at its end")
        self._num_frames += 1
        return Frame(image, self._num_frames, datetime.now(UTC), self._path.name)

    def close(self) -> None:
        """Close the file."""
        if self._capture is not None:
            self._capture.release()
        self._capture = None

    def _next(self) -> Image | None:
        if self._capture is None:
            raise CameraFault(self._camera_id, "is not open")
        ok, image = self._capture.read()
        return np.asarray(image, np.uint8) if ok and image is not None else None


def is_stream(source: str) -> bool:
    """Whether a source is a URL of a stream."""
    return urlsplit(source).scheme.lower() in STREAM_SCHEMES


def _open(source: int | str, camera_id: str, timeout_s: float) -> cv2.VideoCapture:
    if isinstance(source, int):
        capture = cv2.VideoCapture(source)
    else:
        timeout_ms = int(timeout_s * 1000)
        # Without these a dead host blocks for 30 s and a silent stream for ever.
        limits = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            timeout_ms,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            timeout_ms,
        ]
        capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
    if not capture.isOpened():
        capture.release()
        raise CameraFault(camera_id, f"{source} cannot be opened")
    return capture


def _configure(
    capture: cv2.VideoCapture | None,
    features: Mapping[str, float | int | str | bool],
    camera_id: str,
) -> None:
    if capture is None:
        raise CameraFault(camera_id, "is not open")
    for name, value in features.items():
        known = FEATURES.get(name)
        if known is None or isinstance(value, str):
            raise CameraFault(camera_id, f"feature {name} = {value!r} is not known to OpenCV")
        prop, factor = known
        if not capture.set(prop, float(value) * factor):
            raise CameraFault(camera_id, f"refuses {name} = {value!r}")

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

from edge_agent.adapters.opencv_features import CaptureFeatures
from edge_agent.camera_features import FeatureKeeper, Features, FeatureValue
from edge_agent.errors import CameraFault, GrabTimeoutError
from edge_agent.ports import Frame, Image

logger = logging.getLogger(__name__)

STREAM_SCHEMES = frozenset({"rtsp", "rtsps", "http", "https", "tcp", "udp"})
MAX_READ_FAULTS = 3
CLOSE_TIMEOUT_S = 5.0
STREAM_CLOSE_S = 0.2
NUM_SETTLING = 2
"""Frames that were on their way when a feature was changed."""


class LiveCamera:
    """A stream that never stands still: USB, RTSP, HTTP MJPEG.

    A reader thread takes every frame, because the driver would otherwise hand out old ones; a
    grab waits for one that arrived after it was asked for. So no frame is older than its trigger
    by more than the stream's own delay.

    Args:
        source: index of a USB camera, or a URL.
        camera_id: name for messages.
        size_px: width and height to ask a USB camera for.
        features: by SFNC name, for every picture.
        open_timeout_s: for opening.
        stale_s: a stream without a frame for this long counts as lost.
    """

    def __init__(
        self,
        source: int | str,
        *,
        camera_id: str = "camera",
        size_px: tuple[int, int] | None = None,
        features: Features | None = None,
        open_timeout_s: float = 3.0,
        stale_s: float = 1.0,
    ) -> None:
        self._source = source
        self._camera_id = camera_id
        self._size_px = size_px
        self._base = features
        self._keeper = FeatureKeeper(features)
        self._open_timeout_s = open_timeout_s
        self._stale_s = stale_s
        self._num_unsettled = 0
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
            CameraFault: it does not answer, or does not take the settings' features.
        """
        self.close()
        # Staleness is `probe`'s to notice; a read may wait as long as a first frame may take.
        read_s = max(self._open_timeout_s, self._stale_s)
        capture = _open(
            self._source, self._camera_id, timeout_s=self._open_timeout_s, read_s=read_s
        )
        if self._size_px is not None:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._size_px[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._size_px[1])
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self._keeper = FeatureKeeper(self._base)
        try:
            self._keeper.bring(self._features(capture), {})
        except CameraFault:
            capture.release()
            raise
        self._closing = threading.Event()
        self._capture, self._fault, self._newest = capture, None, None
        self._newest_at = time.monotonic()
        self._reader = threading.Thread(
            target=self._read, args=(capture, self._closing), name="camera", daemon=True
        )
        self._reader.start()

    def configure(self, features: Mapping[str, FeatureValue]) -> None:
        """Set what this view wants, and put back what the one before had set.

        Raises:
            FeatureRefusedError: a feature is unknown, or the camera refuses it.
            CameraFault: the stream is not open.
        """
        if self._capture is None:
            raise CameraFault(self._camera_id, "is not open")
        if self._keeper.changes(features):
            self._keeper.bring(self._features(self._capture), features)
            self._num_unsettled = NUM_SETTLING

    def grab(self, timeout_s: float, *, part_id: str | None = None) -> Frame:  # noqa: ARG002
        """Wait for the first frame that arrives from now on.

        Raises:
            GrabTimeoutError: none came in time.
            CameraFault: the stream ended or broke.
        """
        end = time.monotonic() + timeout_s
        while self._num_unsettled:
            self._next(end - time.monotonic(), timeout_s)
            self._num_unsettled -= 1
        return self._next(end - time.monotonic(), timeout_s)

    def probe(self) -> None:
        """Look whether frames still come.

        Raises:
            CameraFault: they do not.
        """
        with self._news:
            if self._fault is not None:
                raise CameraFault(self._camera_id, self._fault)
            silent_s = time.monotonic() - self._newest_at
            # The first frame takes longer: lamps, exposure, a stream's next whole picture.
            allowed_s = self._open_timeout_s if self._newest is None else self._stale_s
        if silent_s > max(allowed_s, self._stale_s):
            raise CameraFault(self._camera_id, f"no frame for {silent_s:.1f} s")

    def _features(self, capture: cv2.VideoCapture) -> CaptureFeatures:
        is_usb = isinstance(self._source, int)
        return CaptureFeatures(capture, self._camera_id, is_usb=is_usb)

    def _next(self, wait_s: float, timeout_s: float) -> Frame:
        asked_at = time.monotonic()
        with self._news:
            self._news.wait_for(
                lambda: self._fault is not None or self._newest_at > asked_at, max(wait_s, 0.0)
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
            # A device must be let go before it can be opened again; a stream's reader need not be
            # waited for: it ends with its read.
            is_device = isinstance(self._source, int)
            self._reader.join(CLOSE_TIMEOUT_S if is_device else STREAM_CLOSE_S)
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
        self._capture = _open(str(self._path), self._camera_id)

    def configure(self, features: Mapping[str, FeatureValue]) -> None:
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

    def probe(self) -> None:
        """Look whether the file is open.

        Raises:
            CameraFault: it is not.
        """
        if self._capture is None:
            raise CameraFault(self._camera_id, "is not open")

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


def _open(
    source: int | str,
    camera_id: str,
    *,
    timeout_s: float = CLOSE_TIMEOUT_S,
    read_s: float = CLOSE_TIMEOUT_S,
) -> cv2.VideoCapture:
    if isinstance(source, int):
        capture = cv2.VideoCapture(source)
    else:
        # Without these a dead host blocks for 30 s and a silent stream for ever.
        limits = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            int(timeout_s * 1000),
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            int(read_s * 1000),
        ]
        capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
    if not capture.isOpened():
        capture.release()
        raise CameraFault(camera_id, f"{source} cannot be opened")
    return capture

"""Cameras over simulated parts: a spool folder, and an MJPEG stream over HTTP."""

import itertools
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import ClassVar

import cv2
import numpy as np

from simulators.dataset import jpeg_bytes
from simulators.errors import SimulatorError
from simulators.sources import PartSource

BOUNDARY = "frame"
PART_HEADER = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"


class CameraFault(StrEnum):
    """What can be wrong with a camera."""

    NONE = "none"
    BLACK = "black"
    """The lamp is out or the lens covered."""
    FROZEN = "frozen"
    """The same picture again and again."""
    OVEREXPOSED = "overexposed"
    """Everything is white: stray light, or an exposure far too long."""
    GONE = "gone"
    """No picture at all."""


class FaultyLens:
    """Passes pictures on, or what is left of them."""

    def __init__(self) -> None:
        self.fault = CameraFault.NONE
        self._last: bytes | None = None

    def through(self, picture: bytes) -> bytes | None:
        """What the camera delivers for this picture; None for nothing."""
        if self.fault is CameraFault.GONE:
            return None
        if self.fault is CameraFault.FROZEN and self._last is not None:
            return self._last
        plain = {CameraFault.BLACK: 0, CameraFault.OVEREXPOSED: 255}.get(self.fault)
        self._last = picture if plain is None else plain_like(picture, plain)
        return self._last


def plain_like(picture: bytes, grey: int) -> bytes:
    """A picture of the same size with nothing on it."""
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    return picture if image is None else jpeg_bytes(np.full_like(image, grey, np.uint8))


class SpoolCamera:
    """Puts each part's picture into the folder that the cell's folder camera takes it from.

    Raises:
        SimulatorError: the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.lens = FaultyLens()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SimulatorError(f"cannot use {folder}: {error.strerror or error}") from error

    def expose(self, part_id: str, picture: bytes, suffix: str = "jpg") -> None:
        """Have the picture ready under the part's name; whole or not at all."""
        delivered = self.lens.through(picture)
        if delivered is None:
            return
        unfinished = self._folder / f".{part_id}.tmp"
        try:
            unfinished.write_bytes(delivered)
            unfinished.replace(self._folder / f"{part_id}.{suffix}")
        except OSError as error:
            raise SimulatorError(f"cannot write {self._folder}: {error.strerror}") from error

    def clear(self) -> None:
        """The part has left: whatever was not taken is gone."""
        for path in self._folder.iterdir():
            path.unlink(missing_ok=True)


class NetworkCamera(ABC):
    """Streams parts from a server of its own; what it speaks, a subclass knows.

    Args:
        source: Parts, one a frame.
        port: TCP port on 127.0.0.1; 0 for any.
        period_s: Time between two frames.

    Raises:
        SimulatorError: the port is taken.
    """

    scheme: ClassVar[str]

    def __init__(self, source: PartSource, *, port: int = 0, period_s: float = 0.2) -> None:
        self.lens = FaultyLens()
        self._source = source
        self._period_s = period_s
        self._stopping = threading.Event()
        self._indices = itertools.count()
        try:
            self._server = self._make_server(("127.0.0.1", port))
        except OSError as error:
            raise SimulatorError(
                f"port {port} is taken ({error.strerror}): give another with --port"
            ) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, name=f"{self.scheme}-camera", daemon=True
        )

    @abstractmethod
    def _make_server(self, address: tuple[str, int]) -> ThreadingTCPServer | ThreadingHTTPServer:
        """A server whose handler streams."""

    @property
    def url(self) -> str:
        """Where the stream is."""
        return f"{self.scheme}://127.0.0.1:{self._server.server_address[1]}/"

    def start(self) -> None:
        """Serve from a thread."""
        self._thread.start()

    def stop(self) -> None:
        """End every stream and the server."""
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def _next_frame(self) -> bytes | None:
        return self.lens.through(self._source.part(next(self._indices)).picture)


class MjpegCamera(NetworkCamera):
    """``GET /`` streams, ``GET /snapshot.jpg`` gives one picture."""

    scheme = "http"

    def _make_server(self, address: tuple[str, int]) -> ThreadingHTTPServer:
        return ThreadingHTTPServer(address, _handler_for(self._frames, self._next_frame))

    def _frames(self) -> Iterator[bytes]:
        while not self._stopping.is_set():
            frame = self._next_frame()
            if frame is not None:
                yield frame
            self._stopping.wait(self._period_s)


def _handler_for(
    frames: Callable[[], Iterator[bytes]], one: Callable[[], bytes | None]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                self._snapshot() if self.path.startswith("/snapshot") else self._stream()
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the viewer left

        def _snapshot(self) -> None:
            frame = one()
            if frame is None:
                self.send_error(503, "no picture")
                return
            self.send_response(200)
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Content-Length", str(len(frame)))
            self.end_headers()
            self.wfile.write(frame)

        def _stream(self) -> None:
            self.send_response(200)
            kind = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
            self.send_header("Content-Type", kind)
            self.end_headers()
            for frame in frames():
                self.wfile.write((PART_HEADER % len(frame)).encode() + frame + b"\r\n")

        def log_message(self, *_: object) -> None:
            """Say nothing per request."""

    return Handler

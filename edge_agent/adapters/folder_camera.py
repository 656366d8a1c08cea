"""A camera that is a folder: another program puts pictures there, or a fixed set goes round."""

import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import cv2
import numpy as np

from edge_agent.errors import (
    BrokenFrameError,
    CameraFault,
    GrabTimeoutError,
    UnreadablePictureError,
)
from edge_agent.picture_intake import check_size
from edge_agent.ports import Frame, Image

logger = logging.getLogger(__name__)

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp"})
POLL_S = 0.002
MAX_FILE_BYTES = 64_000_000
MAX_PIXELS = 50_000_000
HEAD_BYTES = 256_000
"""A JPEG's size stands behind its metadata, which may hold a preview."""
BMP_START = b"BM"
MAX_CACHED = 64
"""Pictures of a round that are kept decoded."""


class SpoolCamera:
    """Takes each picture once and removes it.

    Whoever writes must write under another name (``.part``) and rename, before the trigger. A
    picture belongs to a part when its name is ``{part_id}`` or ``{part_id}~anything`` (several
    views). Older pictures than the one taken are removed: they belong to triggers
    that were refused, and would stand for the wrong part later.

    Args:
        folder: where pictures arrive.
        camera_id: name for messages.
        match_part: false takes the oldest picture whatever its name.
        is_simulated: stamped into each frame.
    """

    def __init__(
        self,
        folder: Path,
        *,
        camera_id: str = "camera",
        match_part: bool = True,
        is_simulated: bool = False,
    ) -> None:
        self._folder = folder
        self._camera_id = camera_id
        self._match_part = match_part
        self._is_simulated = is_simulated
        self._frame_ids = count(1)

    @property
    def camera_id(self) -> str:
        """Name for messages."""
        return self._camera_id

    def open(self) -> None:
        """Check that the folder is there.

        Raises:
            CameraFault: it is not.
        """
        if not self._folder.is_dir():
            raise CameraFault(self._camera_id, f"folder {self._folder} is not there")

    def configure(self, features: Mapping[str, float | int | str | bool]) -> None:
        """A folder has no exposure time."""

    def grab(self, timeout_s: float, *, part_id: str | None = None) -> Frame:
        """Wait for the part's picture.

        Raises:
            GrabTimeoutError: none came in time.
            BrokenFrameError: it is not a picture.
            CameraFault: the folder is gone.
        """
        end = time.monotonic() + timeout_s
        while (path := self._take(part_id)) is None:
            if time.monotonic() >= end:
                raise GrabTimeoutError(self._camera_id, timeout_s)
            time.sleep(POLL_S)
        captured_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        try:
            image = read_picture(path, self._camera_id)
        finally:
            path.unlink(missing_ok=True)
        return Frame(image, next(self._frame_ids), captured_at, path.name, self._is_simulated)

    def probe(self) -> None:
        """Look whether the folder is still there.

        Raises:
            CameraFault: it is not.
        """
        self.open()

    def close(self) -> None:
        """Nothing to let go of."""

    def _take(self, part_id: str | None) -> Path | None:
        waiting = _pictures(self._folder, self._camera_id)
        fitting = [path for path in waiting if self._belongs(path, part_id)]
        if not fitting:
            return None
        chosen = fitting[0]
        for stale in waiting[: waiting.index(chosen)]:
            logger.info("stale picture removed", extra={"picture": stale.name})
            stale.unlink(missing_ok=True)
        return chosen

    def _belongs(self, path: Path, part_id: str | None) -> bool:
        if part_id is None or not self._match_part:
            return True
        return path.stem == part_id or path.stem.startswith(f"{part_id}~")


class CycleCamera:
    """Shows the pictures of a folder in the order of their names, again and again.

    Args:
        folder: holds them; nothing in it is changed.
        camera_id: name for messages.
        is_simulated: stamped into each frame.
    """

    def __init__(
        self, folder: Path, *, camera_id: str = "camera", is_simulated: bool = False
    ) -> None:
        self._folder = folder
        self._camera_id = camera_id
        self._is_simulated = is_simulated
        self._paths: list[Path] = []
        self._decoded: dict[Path, Image] = {}
        self._num_frames = 0

    @property
    def camera_id(self) -> str:
        """Name for messages."""
        return self._camera_id

    def open(self) -> None:
        """List the pictures.

        Raises:
            CameraFault: there are none.
        """
        self._decoded.clear()
        found = _pictures(self._folder, self._camera_id)
        self._paths = sorted(found, key=lambda path: path.name)
        if not self._paths:
            raise CameraFault(self._camera_id, f"folder {self._folder} holds no picture")

    def configure(self, features: Mapping[str, float | int | str | bool]) -> None:
        """A folder has no exposure time."""

    def grab(self, timeout_s: float, *, part_id: str | None = None) -> Frame:  # noqa: ARG002
        """The next picture, at once.

        Raises:
            BrokenFrameError: it is not a picture.
            CameraFault: it is gone.
        """
        if not self._paths:
            raise CameraFault(self._camera_id, "is not open")
        path = self._paths[self._num_frames % len(self._paths)]
        self._num_frames += 1
        image = self._decoded.get(path)
        if image is None:
            image = read_picture(path, self._camera_id)
            if len(self._decoded) < MAX_CACHED:
                self._decoded[path] = image
        now = datetime.now(UTC)
        return Frame(image, self._num_frames, now, path.name, self._is_simulated)

    def probe(self) -> None:
        """Look whether the folder is still there.

        Raises:
            CameraFault: it is not.
        """
        if not self._folder.is_dir():
            raise CameraFault(self._camera_id, f"folder {self._folder} is not there")

    def close(self) -> None:
        """Forget the pictures."""
        self._decoded.clear()


def read_picture(path: Path, camera_id: str) -> Image:
    """Decode a picture file to BGR.

    Raises:
        BrokenFrameError: it is none, or far too large.
        CameraFault: it cannot be read.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BrokenFrameError(camera_id, f"{path.name} is too large")
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise CameraFault(camera_id, f"{path.name} cannot be read: {error.strerror}") from error
    start = data[:HEAD_BYTES].tobytes()
    try:
        # A few bytes may announce gigabytes: looked at before it is decoded.
        if not start.startswith(BMP_START):
            check_size(start, max_pixels=MAX_PIXELS)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except (UnreadablePictureError, cv2.error) as error:
        raise BrokenFrameError(camera_id, f"{path.name}: {error}") from error
    if image is None:
        raise BrokenFrameError(camera_id, f"{path.name} is not a picture")
    return np.asarray(image, np.uint8)


def _pictures(folder: Path, camera_id: str) -> list[Path]:
    """Picture files, oldest first."""
    stamped = []
    try:
        for path in folder.iterdir():
            if path.suffix.lower() in SUFFIXES:
                try:
                    stamped.append((path.stat().st_mtime_ns, path.name, path))
                except FileNotFoundError:
                    continue
    except OSError as error:
        raise CameraFault(camera_id, f"folder {folder}: {error.strerror}") from error
    return [path for _, _, path in sorted(stamped)]

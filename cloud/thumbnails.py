"""Small copies of stored pictures, so that a strip of twenty does not load twenty megabytes."""

import threading
from collections import OrderedDict

import cv2
import numpy as np

from cloud.errors import CloudError, ImageRefusedError
from cloud.image_store import ImageStore
from cloud.pictures import measure

WIDTH_PX = 288
JPEG_QUALITY = 82
MAX_KEPT = 1_000
"""About 12 KB each."""
_REDUCED = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
)
"""A JPEG decodes several times faster at a part of its size."""


class PictureBrokenError(CloudError):
    """A stored picture that cannot be decoded."""


def shrink(content: bytes) -> bytes:
    """A small JPEG of an encoded picture.

    Raises:
        PictureBrokenError: it cannot be decoded.
    """
    try:
        width = measure(content).width_px
        how = next((flag for part, flag in _REDUCED if width >= part * WIDTH_PX), cv2.IMREAD_COLOR)
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), how)
    except (ImageRefusedError, cv2.error) as error:
        raise PictureBrokenError("the picture cannot be decoded") from error
    if picture is None:
        raise PictureBrokenError("the picture cannot be decoded")
    height, width = picture.shape[:2]
    if width > WIDTH_PX:
        size = (WIDTH_PX, max(1, round(height * WIDTH_PX / width)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    parameters = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    return cv2.imencode(".jpg", picture, parameters)[1].tobytes()


class Thumbnails:
    """Makes each small copy once and keeps the latest ones used."""

    def __init__(self, images: ImageStore) -> None:
        self._images = images
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, sha256: str) -> bytes:
        """The small copy of a picture.

        Raises:
            NotFoundError: it is not stored.
            PictureBrokenError: it cannot be decoded.
            UnavailableError: the store does not answer.
        """
        with self._lock:
            if sha256 in self._kept:
                self._kept.move_to_end(sha256)
                return self._kept[sha256]
        small = shrink(self._images.get(sha256))
        with self._lock:
            self._kept[sha256] = small
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return small

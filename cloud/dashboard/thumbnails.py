"""Small copies of stored pictures, so that a strip of twenty does not load twenty megabytes."""

import threading
from collections import OrderedDict

import cv2
import numpy as np
from fastapi import FastAPI, Request, Response

from cloud.api.context import Context, bearer_or_cookie
from cloud.dashboard.links import THUMBNAILS
from cloud.errors import CloudError, NotSignedInError

WIDTH_PX = 288
JPEG_QUALITY = 82
MAX_KEPT = 1_000
"""About 12 KB each."""


def shrink(content: bytes) -> bytes | None:
    """A small JPEG of an encoded picture; None when it cannot be decoded."""
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        return None
    height, width = picture.shape[:2]
    if width > WIDTH_PX:
        size = (WIDTH_PX, max(1, round(height * WIDTH_PX / width)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    parameters = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    return cv2.imencode(".jpg", picture, parameters)[1].tobytes()


class Thumbnails:
    """Makes each small copy once and keeps the latest ones used."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, sha256: str) -> bytes | None:
        """The small copy; None when the picture cannot be decoded.

        Raises:
            NotFoundError: it is not stored.
            UnavailableError: the store does not answer.
        """
        with self._lock:
            if sha256 in self._kept:
                self._kept.move_to_end(sha256)
                return self._kept[sha256]
        small = shrink(self._context.images.get(sha256))
        if small is not None:
            with self._lock:
                self._kept[sha256] = small
                while len(self._kept) > MAX_KEPT:
                    self._kept.popitem(last=False)
        return small

    def install(self, app: FastAPI) -> None:
        """Serve them; who may see the dashboard may see them."""

        def thumbnail(request: Request, sha256: str) -> Response:
            try:
                self._context.accounts.identify(bearer_or_cookie(request))
                small = self.get(sha256)
            except NotSignedInError:
                return Response(status_code=401)
            except CloudError:
                return Response(status_code=404)
            if small is None:
                return Response(status_code=404)
            return Response(
                small,
                media_type="image/jpeg",
                headers={"Cache-Control": "private, max-age=31536000, immutable"},
            )

        app.add_api_route(f"{THUMBNAILS}/{{sha256}}", thumbnail, include_in_schema=False)

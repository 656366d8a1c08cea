"""HTTP for python-tuf that goes on where an interrupted download stopped."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import urllib3
from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface

CHUNK_BYTES = 64 * 1024
PARTIAL_CONTENT = 206
RANGE_NOT_SATISFIABLE = 416


class ResumingFetcher(FetcherInterface):
    """Keeps what came of a large file and asks for the rest the next time.

    Whether the pieces fit together is not decided here: TUF verifies length and hash of the whole.

    Args:
        folder: for the pieces.
        resume_under: URLs that begin like this are resumed; others (metadata) never are.
        timeout_s: for a connection and between two chunks.
    """

    def __init__(self, folder: Path, *, resume_under: str, timeout_s: float) -> None:
        self.has_resumed = False
        """Whether the last large file was put together from pieces."""
        self._folder = folder
        self._resume_under = resume_under
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(timeout_s), retries=urllib3.Retry(0, redirect=3), maxsize=2
        )

    def forget(self) -> None:
        """Drop all pieces: the file is complete, or what came was refused."""
        for path in self._folder.glob("*.part"):
            path.unlink(missing_ok=True)

    def _fetch(self, url: str) -> Iterator[bytes]:
        if not url.startswith(self._resume_under):
            return self._stream(self._request(url, 0))
        part = self._folder / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.part"
        start = part.stat().st_size if part.exists() else 0
        response = self._request(url, start)
        if response.status == RANGE_NOT_SATISFIABLE:
            response.release_conn()
            part.unlink()
            response = self._request(url, 0)
        if response.status != PARTIAL_CONTENT:
            part.unlink(missing_ok=True)  # the server sends all of it again
        self.has_resumed = part.exists()
        return self._stream_through(response, part)

    def _request(self, url: str, start: int) -> urllib3.BaseHTTPResponse:
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        response = self._pool.request("GET", url, headers=headers, preload_content=False)
        if response.status >= 400 and not (start and response.status == RANGE_NOT_SATISFIABLE):
            response.release_conn()
            raise DownloadHTTPError(f"{url}: HTTP {response.status}", response.status)
        return response

    def _stream_through(self, response: urllib3.BaseHTTPResponse, part: Path) -> Iterator[bytes]:
        if part.exists():
            with part.open("rb") as earlier:
                while chunk := earlier.read(CHUNK_BYTES):
                    yield chunk
        with part.open("ab") as stream:
            for chunk in self._stream(response):
                stream.write(chunk)
                yield chunk

    @staticmethod
    def _stream(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        try:
            yield from response.stream(CHUNK_BYTES)
        finally:
            response.release_conn()

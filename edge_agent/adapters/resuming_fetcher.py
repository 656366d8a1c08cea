"""HTTP for python-tuf that goes on where an interrupted download stopped."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import urllib3
from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError
from tuf.ngclient import FetcherInterface

CHUNK_BYTES = 64 * 1024
PARTIAL_CONTENT = 206
RANGE_NOT_SATISFIABLE = 416
FLUSH_BYTES = 2**20
"""The disk is given so much at a time: left to the kernel it gets all that came in some seconds at
once, and a verdict's own sync waits behind that."""


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
        self._is_cancelled = False
        self._folder = folder
        self._resume_under = resume_under
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(timeout_s), retries=urllib3.Retry(0, redirect=3), maxsize=2
        )

    def cancel(self) -> None:
        """Break off, now and from now on; what came stays for the next process."""
        self._is_cancelled = True

    def forget(self) -> None:
        """Drop all pieces: the file is complete, or what came was refused."""
        for path in self._folder.glob("*.part"):
            path.unlink(missing_ok=True)

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[IO[bytes]]:
        """The whole file, put together from what is here and what is fetched; written once.

        Raises:
            DownloadError: it cannot be fetched, or is longer than ``max_length``.
        """
        if not url.startswith(self._resume_under):
            with super().download_file(url, max_length) as whole:
                yield whole
            return
        part = self._folder / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.part"
        self._complete(url, part, max_length)
        with part.open("rb") as whole:
            yield whole

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self._stream(self._request(url, 0))

    def _complete(self, url: str, part: Path, max_length: int) -> None:
        start = part.stat().st_size if part.exists() else 0
        self.has_resumed = start > 0
        if start == max_length:
            return
        response = self._request(url, start)
        if response.status == RANGE_NOT_SATISFIABLE:
            response.release_conn()
            part.unlink()
            response = self._request(url, 0)
        if response.status != PARTIAL_CONTENT:
            part.unlink(missing_ok=True)  # the server sends all of it again
        self.has_resumed = part.exists()
        with part.open("ab") as stream:
            for chunk in self._stream(response):
                stream.write(chunk)
                if stream.tell() > max_length:
                    raise DownloadLengthMismatchError(f"{url} is longer than {max_length} bytes")
                if stream.tell() % FLUSH_BYTES < len(chunk):
                    _begin_to_write(stream)

    def _request(self, url: str, start: int) -> urllib3.BaseHTTPResponse:
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        response = self._pool.request("GET", url, headers=headers, preload_content=False)
        if response.status >= 400 and not (start and response.status == RANGE_NOT_SATISFIABLE):
            response.release_conn()
            raise DownloadHTTPError(f"{url}: HTTP {response.status}", response.status)
        return response

    def _stream(self, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        try:
            for chunk in response.stream(CHUNK_BYTES):
                if self._is_cancelled:
                    raise DownloadError("cancelled")
                yield chunk
        finally:
            response.release_conn()


def _begin_to_write(stream: IO[bytes]) -> None:
    stream.flush()
    os.posix_fadvise(stream.fileno(), 0, stream.tell(), os.POSIX_FADV_DONTNEED)

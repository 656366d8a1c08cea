"""The server that releases are downloaded from, which may break off at any byte."""

import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class UpdateServer:
    """Serves a folder over HTTP; large files can be cut short.

    Args:
        folder: with ``metadata/`` and ``targets/``.
    """

    def __init__(self, folder: Path) -> None:
        self.cut_at: float | None = None
        """Share of an archive after which the connection ends, once; None: never."""
        self.num_cuts = 0
        self.sent_bytes = 0
        """Of archives."""
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", 0), partial(_Handler, directory=str(folder), take_cut=self._take_cut)
        )
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="update-server", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()

    def _take_cut(self, length: int) -> int:
        """How many of an archive's bytes to send."""
        share, self.cut_at = self.cut_at, None
        if share is None:
            self.sent_bytes += length
            return length
        self.num_cuts += 1
        self.sent_bytes += int(length * share)
        return int(length * share)


class _Handler(SimpleHTTPRequestHandler):
    """Knows ``Range: bytes=N-``, as any real server does."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *args: object, take_cut: Callable[[int], int], directory: str) -> None:
        self._take_cut = take_cut
        super().__init__(*args, directory=directory)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data, start = path.read_bytes(), self._start()
        part = data[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        count = self._take_cut(len(part)) if path.suffix == ".tar" else len(part)
        self.wfile.write(part[:count])
        if count < len(part):
            self.wfile.flush()
            self.close_connection = True

    def _start(self) -> int:
        wanted = self.headers.get("Range", "")
        return int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0

    def log_message(self, *_: object) -> None:
        """Say nothing per request."""

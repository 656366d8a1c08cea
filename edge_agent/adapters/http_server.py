"""Runs the agent's HTTP API in a thread of its own."""

import logging
import socket
import threading

import uvicorn
from fastapi import FastAPI

from edge_agent.errors import ConfigurationError

logger = logging.getLogger(__name__)

STOP_TIMEOUT_S = 10.0
BACKLOG = 128


class HttpServer:
    """uvicorn in the background; the port is taken when this returns, so that a clash shows.

    Args:
        app: what to serve.
        host: address to listen on.
        port: 0 takes a free one, which ``port`` tells.

    Raises:
        ConfigurationError: the port is taken or the address is not ours.
    """

    def __init__(self, app: FastAPI, *, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
            self._socket.listen(BACKLOG)  # whoever comes before uvicorn accepts waits a moment
        except OSError as error:
            self._socket.close()
            raise ConfigurationError(
                f"http.port {port} on {host} cannot be used: {error.strerror}; set another one"
            ) from error
        self.port = int(self._socket.getsockname()[1])
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", backlog=BACKLOG,
            timeout_graceful_shutdown=2,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        """Serve in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is being answered, then end."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(STOP_TIMEOUT_S)
        self._socket.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except Exception:
            # The thread's boundary: the PLC is answered without HTTP, too.
            logger.exception("http server failed")

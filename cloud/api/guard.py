"""What every request passes first: size, origin and host, and the headers of every answer."""

import math
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud.api.problems import problem
from cloud.limits import RequestLimit
from cloud.telemetry import ServeMetrics

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
ANSWER_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    # A plant has no internet: whatever a page asks for comes from here. Vue compiles the pages'
    # templates in the browser, which needs eval.
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        "connect-src 'self' ws: wss:; object-src 'none'; base-uri 'self'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
}
LIMITED_PREFIX = "/v1/"
ADDRESS_FACTOR = 10
"""What an address may send against what one who is signed in may: a proxy stands for many."""


class Guard:
    """ASGI middleware in front of API and dashboard.

    A page of another site must not act with the visitor's cookie, nor on a server that asks for
    no login because it listens on loopback only: writes and web sockets from another origin are
    refused, and without login so is every host name that is not this machine's.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        metrics: ServeMetrics,
        limit: RequestLimit | None = None,
        address_limit: RequestLimit | None = None,
        own_hosts: Iterable[str] = (),
        only_own_hosts: bool = False,
    ) -> None:
        """Wrap ``app``.

        Args:
            app: What is guarded.
            max_body_bytes: Larger requests are answered with 413.
            metrics: Where requests are counted.
            limit: How often each token or session may ask the API.
            address_limit: How often each address may.
            own_hosts: Host names, with port where not the default, that this server goes by.
            only_own_hosts: Refuse requests for any other host name.
        """
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._too_large = f"a request has at most {max_body_bytes} bytes"
        self._metrics = metrics
        self._limit = limit
        self._address_limit = address_limit
        self._own_hosts = {host.lower() for host in own_hosts}
        self._only_own_hosts = only_own_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, pass it on, and finish the answer's headers."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if scope["type"] == "websocket":
            if refusal is not None:
                await send({"type": "websocket.close", "code": 1008, "reason": refusal})
                return
            await self._app(scope, receive, send)
        elif refusal is not None:
            await problem(403, "cross-site", "Cross-site request", refusal)(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if self._only_own_hosts and _name_of(host) not in map(_name_of, self._own_hosts):
            return f"this server is not {host[:100]}"
        if scope["type"] == "http" and scope["method"] in SAFE_METHODS:
            return None
        origin = headers.get("origin")
        if origin is None:
            return None  # not a browser, or not across sites
        if urlsplit(origin).netloc.lower() in {host, *self._own_hosts}:
            return None
        return "the request comes from a page of another site"

    def _wait_s(self, scope: Scope) -> float:
        """Seconds that a caller must wait who asks too often."""
        if self._limit is None or not scope["path"].startswith(LIMITED_PREFIX):
            return 0.0
        headers = Headers(scope=scope)
        address = (scope.get("client") or ("unknown",))[0]
        secret = headers.get("authorization") or headers.get("cookie")
        wait_s = self._limit.wait_s(str(hash(secret)) if secret else address)
        if self._address_limit is not None:
            wait_s = max(wait_s, self._address_limit.wait_s(address))
        return wait_s

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        status = 500
        num_bytes = 0

        async def counted() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > self._max_body_bytes:
                raise HTTPException(413, self._too_large)
            return message

        async def finished(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in ANSWER_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        length = Headers(scope=scope).get("content-length", "")
        try:
            wait_s = self._wait_s(scope)
            if wait_s > 0:
                text = f"too many requests: wait {wait_s:.1f} s"
                refuse = problem(429, "too-many-requests", "Too many requests", text)
                refuse.headers["Retry-After"] = str(math.ceil(wait_s))
                await refuse(scope, receive, finished)
            elif length.isdecimal() and int(length) > self._max_body_bytes:
                refuse = problem(413, "content-too-large", "Content too large", self._too_large)
                await refuse(scope, receive, finished)
            else:
                await self._app(scope, counted, finished)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(scope["method"], route, status).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - started)


def _name_of(host: str) -> str:
    return urlsplit(f"//{host}").hostname or ""

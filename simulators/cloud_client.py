"""The cloud's public HTTP API, as a script of a customer would use it."""

import http.client
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from simulators.errors import SimulatorError

TIMEOUT_S = 30.0
PAGE_LIMIT = 200

Json = dict[str, Any]


class CloudUnreachableError(SimulatorError):
    """Nobody answers; trying again later may help."""


class CloudRefusedError(SimulatorError):
    """The cloud answered with a problem document."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class CloudClient:
    """One connection a request; safe to use from several threads.

    Args:
        url: Base, for instance ``http://127.0.0.1:8080``.
        token: Bearer token; None where the cloud asks for no login.

    Raises:
        SimulatorError: ``url`` is not an HTTP URL.
    """

    def __init__(self, url: str, *, token: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise SimulatorError(f"{url!r} is not an http:// or https:// URL")
        self.url = url.rstrip("/")
        self._is_tls = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._prefix = parts.path.rstrip("/")
        self._headers = {"Accept": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **query: str | int | None) -> Any:  # noqa: ANN401 - JSON
        """GET below ``/v1/``; decoded JSON.

        Raises:
            CloudUnreachableError: nobody answers.
            CloudRefusedError: the answer is an error.
        """
        given = {key: value for key, value in query.items() if value is not None}
        suffix = f"?{urlencode(given)}" if given else ""
        return self._request("GET", f"/v1/{path}{suffix}")

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401
        """POST below ``/v1/``; decoded JSON. Raises as `get`."""
        return self._request("POST", f"/v1/{path}", body or {})

    def put(self, path: str, body: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """PUT below ``/v1/``; decoded JSON. Raises as `get`."""
        return self._request("PUT", f"/v1/{path}", body)

    def pages(self, path: str, **query: str | int | None) -> Iterator[Json]:
        """Every item of a list, page after page. Raises as `get`."""
        cursor: str | None = None
        while True:
            page = self.get(path, cursor=cursor, **{"limit": PAGE_LIMIT, **query})
            yield from page["items"]
            cursor = page.get("next")
            if not cursor:
                return

    def is_up(self, path: str = "/healthz") -> bool:
        """Whether the server answers."""
        try:
            self._request("GET", path)
        except CloudRefusedError as error:
            return error.status < 500
        except CloudUnreachableError:
            return False
        return True

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401
        kind = http.client.HTTPSConnection if self._is_tls else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=TIMEOUT_S)
        payload = None if body is None else json.dumps(body).encode()
        headers = dict(self._headers)
        if payload is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, quote(self._prefix) + path, payload, headers)
            response = connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise CloudUnreachableError(f"the cloud at {self.url} does not answer") from error
        finally:
            connection.close()
        if response.status >= 400:
            raise CloudRefusedError(response.status, _problem_of(method, path, response, data))
        return _decoded(data)


def _decoded(data: bytes) -> Any:  # noqa: ANN401
    try:
        return json.loads(data) if data else None
    except ValueError:
        return None


def _problem_of(method: str, path: str, response: http.client.HTTPResponse, data: bytes) -> str:
    document = _decoded(data)
    detail = document.get("detail") if isinstance(document, dict) else None
    return f"{method} {path.partition('?')[0]}: {response.status} {detail or response.reason}"

"""Sends pictures over kept connections: ``python -m bench.edge.http_client FOLDER``.

Reads lines ``PORT PATH COUNT CONNECTIONS FORM``; answers with JSON: milliseconds, seconds in all.
FORM is 1 for a multipart form, 0 for the bare picture.
"""

import json
import socket
import sys
import threading
import time
from http.client import HTTPConnection
from pathlib import Path

BOUNDARY = "picture"
HEAD = (
    f"--{BOUNDARY}\r\n"
    'Content-Disposition: form-data; name="image"; filename="part.jpg"\r\n'
    "Content-Type: image/jpeg\r\n\r\n"
)
TYPES = ("image/jpeg", f"multipart/form-data; boundary={BOUNDARY}")


def main() -> None:
    bare = [path.read_bytes() for path in sorted(Path(sys.argv[1]).glob("*.jpg"))]
    forms = [HEAD.encode() + body + f"\r\n--{BOUNDARY}--\r\n".encode() for body in bare]
    for line in sys.stdin:
        port, path, count, connections, form = line.split()
        times: list[float] = []
        target = (int(port), path, TYPES[int(form)])
        share = int(count) // int(connections)
        threads = [
            threading.Thread(target=_send, args=(target, (bare, forms)[int(form)], share, times))
            for _ in range(int(connections))
        ]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        answer = {"ms": times, "seconds": time.perf_counter() - began}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _send(
    target: tuple[int, str, str], bodies: list[bytes], count: int, times: list[float]
) -> None:
    port, path, content_type = target
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for number in range(count):
        before = time.perf_counter()
        connection.request(
            "POST", path, bodies[number % len(bodies)], {"Content-Type": content_type}
        )
        response = connection.getresponse()
        body = response.read()
        times.append((time.perf_counter() - before) * 1000)
        if response.status != 200:
            raise RuntimeError(f"{response.status} from port {port}: {body[:300]!r}")
    connection.close()


if __name__ == "__main__":
    main()

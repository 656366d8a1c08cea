"""Ports for servers that are about to start."""

import random
import socket

# Below what Linux and IANA hand out to connections (32768 and up): between the look at a port and
# the server's own bind nobody is given it by chance.
FIRST, END = 20_000, 32_000
MAX_TRIES = 1_000
# One seeded by the system in each process: tests that run side by side must not try in step.
_RANDOM = random.SystemRandom()


def free_port() -> int:
    """A TCP port on loopback that nothing listens on right now.

    Raises:
        OSError: there is none.
    """
    for _ in range(MAX_TRIES):
        port = _RANDOM.randrange(FIRST, END)
        if is_free(port):
            return port
    raise OSError(f"no free port between {FIRST} and {END}")


def is_free(port: int) -> bool:
    """Whether a server could take this port on loopback."""
    with socket.socket() as probe:
        # As servers do: connections that wait for their end do not hold a port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

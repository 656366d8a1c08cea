"""Keep TensorFlow's server off the interfaces that it has no business on.

Its gRPC server speaks without password or TLS and always listens on every interface. So the kernel
is told to drop what is addressed to any other address than the one that the peers were given: to
everybody else there is no such port. Linux lets a process do that to its own sockets
(``SO_ATTACH_FILTER``, classic BPF); elsewhere a firewall must, see deploy/spark/README.md.
"""

import contextlib
import ctypes
import ipaddress
import os
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

SO_ATTACH_FILTER = 26
OWN_SOCKETS = Path("/proc/self/fd")
POLL_S = 0.01
ETHERTYPE_IPV4 = 0x0800
# Of struct sock_filter: what an instruction does, where it jumps, and its operand.
LOAD_WORD, LOAD_HALF, JUMP_IF_EQUAL, RETURN = 0x20, 0x28, 0x15, 0x06
# Where the filter finds the packet's protocol, and the destination in its IPv4 header.
PROTOCOL_PLACE = 0xFFFFF000
IPV4_DESTINATION_PLACE = 0xFFF00000 + 16
WHOLE_PACKET = 0xFFFF


@contextlib.contextmanager
def only_on(host: str, port: int) -> Iterator[None]:
    """In the block, and from then on, let a server that it starts hear its own address alone.

    Nothing happens where ``host`` is a name, which peers may resolve otherwise than this machine.

    Args:
        host: address that the peers were given.
        port: that the server will listen on.
    """
    if not can_narrow(host):
        yield
        return
    is_over = threading.Event()

    def work() -> None:
        # The server appears in the middle of a call that lasts until all peers are there.
        while not (narrow(host, port) or is_over.wait(POLL_S)):
            pass

    thread = threading.Thread(target=work, name="narrow-listener", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        narrow(host, port)


def can_narrow(host: str) -> bool:
    """Whether this machine and this address allow it."""
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return sys.platform == "linux" and OWN_SOCKETS.is_dir()


def narrow(host: str, port: int) -> int:
    """Attach the filter to each of this process's sockets that listen on ``port``; how many."""
    listeners = list(_listeners(port))
    for listener in listeners:
        # A sandbox may forbid it; then it is the firewall's turn, as with a host's name.
        with listener, contextlib.suppress(OSError):
            _attach(listener, host)
    return len(listeners)


def _listeners(port: int) -> Iterator[socket.socket]:
    for entry in os.listdir(OWN_SOCKETS):  # noqa: PTH208 - pathlib would stat what is gone
        # Files and sockets come and go while we look.
        with contextlib.suppress(OSError, ValueError):
            if not str((OWN_SOCKETS / entry).readlink()).startswith("socket:"):
                continue
            copy = socket.socket(fileno=os.dup(int(entry)))
            is_internet = copy.family in (socket.AF_INET, socket.AF_INET6)
            if (
                is_internet
                and copy.type == socket.SOCK_STREAM
                and copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                and copy.getsockname()[1] == port
            ):
                yield copy
            else:
                copy.close()


def _attach(listener: socket.socket, host: str) -> None:
    address = int(ipaddress.IPv4Address(host))
    program = [
        (LOAD_HALF, 0, 0, PROTOCOL_PLACE),
        (JUMP_IF_EQUAL, 0, 3, ETHERTYPE_IPV4),
        (LOAD_WORD, 0, 0, IPV4_DESTINATION_PLACE),
        (JUMP_IF_EQUAL, 0, 1, address),
        (RETURN, 0, 0, WHOLE_PACKET),
        (RETURN, 0, 0, 0),
    ]
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    # Native struct sock_fprog: a count, and a pointer to the instructions.
    listener.setsockopt(
        socket.SOL_SOCKET,
        SO_ATTACH_FILTER,
        struct.pack("HP", len(program), ctypes.addressof(buffer)),
    )

import socket
from collections.abc import Iterator

import pytest

from models.training.listening import can_narrow, only_on

pytestmark = pytest.mark.skipif(not can_narrow("127.0.0.1"), reason="needs Linux's socket filters")


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["IPv4", "both"])
def everywhere(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """A server on all interfaces, as TensorFlow's is."""
    try:
        listener = socket.socket(request.param, socket.SOCK_STREAM)
        if request.param == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listener:
        listener.listen()
        yield listener


def answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=0.3) as connection:
            connection.sendall(b"hello")
            return True
    except OSError:
        return False


def test_server_on_all_interfaces_hears_its_own_address_alone(everywhere: socket.socket) -> None:
    port = everywhere.getsockname()[1]
    assert answers("127.0.0.2", port)
    with only_on("127.0.0.1", port):
        pass
    assert answers("127.0.0.1", port)
    assert not answers("127.0.0.2", port)


def test_server_that_starts_inside_the_block_is_found() -> None:
    with socket.socket() as holder:
        holder.bind(("", 0))
        port = holder.getsockname()[1]
        with only_on("127.0.0.1", port):
            holder.listen()
        assert answers("127.0.0.1", port)
        assert not answers("127.0.0.2", port)


def test_host_name_is_left_to_the_firewall() -> None:
    assert not can_narrow("worker-3.plant.example")

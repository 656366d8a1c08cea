"""A network line between two hosts that are network namespaces: slow, lossy, or cut.

Packets go from one host's TUN device to the other's through this process, which drops and delays
them as it is told. So TCP does what it does on a bad line: it sends again, and waits.

Only for a process that is in a network namespace of its own (``unshare --net``) and may make
devices: nothing outside sees these addresses.
"""

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time

from simulators.errors import SimulatorError

HERE, THERE = "10.231.7.1", "10.231.7.2"
TUNSETIFF = 0x400454CA
IFF_TUN_NO_INFO = 0x0001 | 0x1000
MTU = 1500


class LossyLine:
    """Two hosts and the line between them.

    Args:
        seed: which packets are lost.

    Raises:
        SimulatorError: this machine lets us make no namespace or device.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.loss_ratio = 0.0
        self.delay_s = 0.0
        """In each direction."""
        self.is_cut = False
        self.num_lost = self.num_passed = 0
        self._dice = random.Random(seed)  # noqa: S311 - which packets are lost
        self._waiting: list[tuple[float, int, int, bytes]] = []
        self._count = 0
        self._stopping = threading.Event()
        try:
            self._host = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])  # noqa: S607
            time.sleep(0.2)
            self._ends = (_tun("lineA"), _tun("lineB"))
            pid = str(self._host.pid)
            _ip("link", "set", "lo", "up")
            _ip("addr", "add", HERE, "peer", THERE, "dev", "lineA")
            _ip("link", "set", "lineA", "up")
            _ip("link", "set", "lineB", "netns", pid)
            self.there = ("nsenter", "--target", pid, "--net")
            for words in (
                ("link", "set", "lo", "up"),
                ("addr", "add", THERE, "peer", HERE, "dev", "lineB"),
                ("link", "set", "lineB", "up"),
            ):
                subprocess.run([*self.there, "ip", *words], check=True)  # noqa: S603
        except (OSError, subprocess.CalledProcessError) as error:
            raise SimulatorError(f"no network namespaces here: {error}") from error
        self._thread = threading.Thread(target=self._run, name="lossy-line", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take the line and the other host down."""
        self._stopping.set()
        self._thread.join(5)
        self._host.kill()
        self._host.wait(5)
        for end in self._ends:
            os.close(end)

    def _run(self) -> None:
        here, there = self._ends
        while not self._stopping.is_set():
            pause = min(self._waiting[0][0] - time.monotonic(), 0.05) if self._waiting else 0.05
            for end in select.select([here, there], [], [], max(pause, 0.0))[0]:
                self._take_in(os.read(end, MTU + 100), there if end == here else here)
            while self._waiting and self._waiting[0][0] <= time.monotonic():
                _, _, end, packet = heapq.heappop(self._waiting)
                if not self.is_cut:
                    os.write(end, packet)

    def _take_in(self, packet: bytes, end: int) -> None:
        if self.is_cut or self._dice.random() < self.loss_ratio:
            self.num_lost += 1
            return
        self.num_passed += 1
        self._count += 1
        heapq.heappush(self._waiting, (time.monotonic() + self.delay_s, self._count, end, packet))


def _tun(name: str) -> int:
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN_NO_INFO))
    return end


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)  # noqa: S603, S607

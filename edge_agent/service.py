"""What a service manager wants to know: ready, alive, stopping (systemd's sd_notify protocol)."""

import logging
import os
import socket
from dataclasses import dataclass

logger = logging.getLogger(__name__)

US_PER_S = 1_000_000


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """The way to systemd; without ``NOTIFY_SOCKET`` nobody is told anything."""

    address: str | None
    watchdog_s: float | None
    """It restarts the agent when it hears nothing for this long."""

    @classmethod
    def from_environment(cls) -> "ServiceManager":
        """As systemd tells it to a service of ``Type=notify``."""
        watchdog_us = os.environ.get("WATCHDOG_USEC", "")
        watchdog_s = int(watchdog_us) / US_PER_S if watchdog_us.isdigit() else None
        return cls(os.environ.get("NOTIFY_SOCKET"), watchdog_s)

    def ready(self) -> None:
        """The agent inspects parts."""
        self._tell(b"READY=1")

    def alive(self) -> None:
        """Feed the watchdog; call only when every loop that a part needs is known to go round."""
        self._tell(b"WATCHDOG=1")

    def stopping(self) -> None:
        """The agent ends on purpose."""
        self._tell(b"STOPPING=1")

    def _tell(self, state: bytes) -> None:
        if not self.address:
            return
        # A leading "@" stands for Linux's abstract name space.
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.sendto(state, address)
        except OSError as error:
            logger.warning("service manager not reachable: %s", error)

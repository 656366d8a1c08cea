"""Things that a process does again and again beside its main job."""

import logging
import threading
from collections.abc import Callable

from cloud.errors import CloudError

LOGGER = logging.getLogger(__name__)


class Repeated:
    """Does something every so often on a thread of its own, whatever happened the last time."""

    def __init__(self, name: str, period_s: float, action: Callable[[], object]) -> None:
        self._name = name
        self._period_s = period_s
        self._action = action
        self._stopping = threading.Event()
        self._is_failing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; the first time is at once."""
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Let the present turn end and do no other."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    @property
    def is_failing(self) -> bool:
        """Whether the last turn ended in an error."""
        return self._is_failing

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._turn()
            self._stopping.wait(self._period_s)

    def _turn(self) -> None:
        try:
            self._action()
        except CloudError as error:
            if not self._is_failing:
                LOGGER.warning("%s failed, trying again", self._name, extra={"cause": str(error)})
            self._is_failing = True
        except Exception:  # the thread's boundary: the next turn may work
            LOGGER.exception("%s failed, trying again", self._name)
            self._is_failing = True
        else:
            self._is_failing = False

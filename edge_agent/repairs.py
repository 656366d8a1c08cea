"""Faults that the station repairs by itself: what to tell a person, and when to try again."""

from edge_agent.errors import StationFault
from edge_agent.vision import CAMERA, MODEL
from models.contract.messages import Alarm

ACTIONS = {
    CAMERA: "Check the camera's power and cable; it is opened again by itself",
    MODEL: "Roll back to an earlier model, or reset; the model is tried again by itself",
}


def alarm_of(code: str, fault: StationFault) -> Alarm:
    """The alarm that a fault raises."""
    return Alarm(code=code, cause=str(fault)[:200], action=ACTIONS[code])


class Repairs:
    """When each broken thing is tried next. One try runs at a time."""

    def __init__(self, pause_ns: int) -> None:
        self._pause_ns = pause_ns
        self._next_ns: dict[str, int] = {}

    def plan(self, code: str, now_ns: int, *, at_once: bool = False) -> None:
        """Try to repair this after a pause."""
        self._next_ns[code] = now_ns if at_once else now_ns + self._pause_ns

    def hurry(self, now_ns: int) -> None:
        """Try everything that is planned now."""
        for code in self._next_ns:
            self._next_ns[code] = now_ns

    def take_due(self, now_ns: int) -> str | None:
        """What to try now; it must be planned again if that fails."""
        due = [code for code, at_ns in self._next_ns.items() if at_ns <= now_ns]
        if not due:
            return None
        del self._next_ns[due[0]]
        return due[0]

    def is_planned(self, code: str) -> bool:
        """Whether a try is planned."""
        return code in self._next_ns

    def next_ns(self) -> int | None:
        """When the next try is due."""
        return min(self._next_ns.values(), default=None)

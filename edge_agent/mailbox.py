"""What reaches the inspection thread, and the queue it comes through."""

import queue
from concurrent.futures import Future
from dataclasses import dataclass

from edge_agent.cycle import CycleReport
from edge_agent.errors import StationFault
from edge_agent.ports import LoadedModel
from models.contract.messages import Alarm, Command, DesiredRecipe
from models.contract.recipe import Recipe
from models.contract.topics import Channel

MAX_WAITING = 1_000
"""Messages from outside that may wait; more are dropped and counted: the PLC repeats itself."""


@dataclass(frozen=True, slots=True)
class PlcMessage:
    """Bytes from the cell's broker, not looked at yet."""

    channel: Channel
    payload: bytes
    arrived_ns: int


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """The cell's broker came or went."""

    is_connected: bool


@dataclass(frozen=True, slots=True)
class PictureTaken:
    """The vision thread has the picture; the robot may move."""

    acquisition_id: int


@dataclass(frozen=True, slots=True, eq=False)
class CycleDone:
    """The vision thread finished a cycle, or could not."""

    acquisition_id: int
    report: CycleReport | None
    fault: StationFault | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FaultSeen:
    """Somebody else who uses the model found it unusable."""

    fault: StationFault


@dataclass(frozen=True, slots=True)
class Recovered:
    """A try to repair the camera or the model ended."""

    code: str
    fault: StationFault | None


@dataclass(frozen=True, slots=True)
class Probed:
    """The vision thread looked whether the camera is still there, while nothing else happened."""

    fault: StationFault | None


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """The vision thread tried whether the camera takes what a recipe's views want of it."""

    recipe: Recipe
    fault: StationFault | None


@dataclass(frozen=True, slots=True, eq=False)
class SwapRequest:
    """Another thread wants a new model to judge; it waits for the old one."""

    model: LoadedModel
    done: "Future[LoadedModel | None]"


@dataclass(frozen=True, slots=True)
class CloudCommand:
    """A command from the cloud."""

    command: Command


@dataclass(frozen=True, slots=True)
class CloudRecipe:
    """A recipe from the cloud."""

    desired: DesiredRecipe


@dataclass(frozen=True, slots=True)
class StorageChanged:
    """The recorder can keep up again (None) or cannot (why)."""

    alarm: Alarm | None


@dataclass(frozen=True, slots=True)
class Wake:
    """Look again: there is room in the recorder, or a picture over HTTP."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Finish the running part and end."""


Event = (
    PlcMessage
    | LinkChanged
    | PictureTaken
    | CycleDone
    | FaultSeen
    | Recovered
    | Probed
    | Rehearsed
    | SwapRequest
    | CloudCommand
    | CloudRecipe
    | StorageChanged
    | Wake
    | Stop
)


class Mailbox:
    """Queue to the inspection thread; any thread may post."""

    def __init__(self) -> None:
        self.num_dropped = 0
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def post(self, event: Event) -> None:
        """Add what the agent itself has to say; never dropped."""
        self._events.put(event)

    def post_outside(self, event: PlcMessage | CloudCommand | CloudRecipe) -> bool:
        """Add what came from outside; false when too much waits and it was dropped."""
        if self._events.qsize() >= MAX_WAITING:
            self.num_dropped += 1
            return False
        self._events.put(event)
        return True

    def take(self, timeout_s: float) -> Event | None:
        """The next event, or None after ``timeout_s``."""
        try:
            return self._events.get(timeout=max(timeout_s, 0.0))
        except queue.Empty:
            return None

    def is_empty(self) -> bool:
        """Whether nothing waits now."""
        return self._events.empty()

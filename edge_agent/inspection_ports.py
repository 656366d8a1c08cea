"""What others ask of the inspection: whoever sends pictures over HTTP, and the cloud."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from edge_agent.ports import CycleOutcome, Image
from models.contract.messages import Command, DesiredRecipe, StationEvent, StationState


@dataclass(frozen=True, slots=True, eq=False)
class PictureRequest:
    """A picture that somebody wants judged, outside the PLC's handshake."""

    read: Callable[[], Image]
    """Decodes it; called once, on the thread that judges. Raises `UnreadablePictureError`."""
    part_id: str
    recipe_id: str | None = None
    """The selected recipe when None."""
    view: str | None = None
    """The recipe's first view when None."""
    captured_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """Answer for probes: ``is_live`` false means restart me, ``is_ready`` false means wait."""

    is_live: bool
    is_ready: bool
    station_state: StationState
    text: str = ""


class PictureInspector(Protocol):
    """Judges pictures that come over HTTP, between the PLC's parts."""

    def submit(self, request: PictureRequest) -> Future[CycleOutcome]:
        """Queue a picture; the future resolves once it is judged and on its way to the recorder.

        Raises:
            OverloadError: the queue is full (HTTP 429).
            NotReadyError: the station is halted, in error, or has no model (HTTP 503).
            UnknownNameError: there is no such recipe or view (HTTP 404).
        """
        ...

    def health(self) -> Health:
        """State for ``/healthz`` and ``/readyz``; never blocks."""
        ...


class CloudInbox(Protocol):
    """What the uplink hands to the inspection; every call only enqueues."""

    def post_recipe(self, desired: DesiredRecipe) -> None:
        """A recipe came from the cloud: take it over between two jobs, if the model suits it."""
        ...

    def post_command(self, command: Command) -> None:
        """A command came from the cloud; it answers with a station event on the records stream."""
        ...

    def post_event(self, event: StationEvent) -> None:
        """Something that others of the agent want recorded: an update's end, an alarm."""
        ...

"""How other threads ask the inspection for something; every call only leaves a message."""

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, replace

from edge_agent.errors import NotReadyError, SwapError, UnknownNameError
from edge_agent.inspection_ports import Health, PictureRequest
from edge_agent.mailbox import (
    CloudCommand,
    CloudRecipe,
    Mailbox,
    SwapRequest,
)
from edge_agent.picture_queue import PictureQueue
from edge_agent.ports import Clock, CycleOutcome, LoadedModel
from edge_agent.recipes import RecipeBook
from edge_agent.recorder import Occurrence, Recorder
from edge_agent.station import Station
from models.contract.messages import Command, DesiredRecipe, StationEvent, StationState

WHY_NOT_READY = {
    StationState.PREOPERATIONAL: "no recipe is selected",
    StationState.INITIALIZED: "waiting for camera, model or recorder",
    StationState.HALTED: "stopped by command",
}
INSPECTING = frozenset({StationState.READY, StationState.SINGLE_EXECUTION})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the inspection thread last said about itself; replaced as a whole."""

    station_state: StationState = StationState.PREOPERATIONAL
    is_connected: bool = False
    recipe_id: str | None = None
    recipe_version: int | None = None
    model: LoadedModel | None = None
    text: str = "starting"
    seen_ns: int = 0
    """When the inspection thread last went round."""


class InspectionAccess:
    """The inspection as the uplink, the updater and HTTP see it.

    Implements `CloudInbox`, `ModelHost` and `PictureInspector`.
    """

    def __init__(
        self,
        *,
        mailbox: Mailbox,
        pictures: PictureQueue,
        book: RecipeBook,
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        self.snapshot = Snapshot()
        self.is_live: Callable[[], bool] = lambda: True
        self._mailbox = mailbox
        self._pictures = pictures
        self._book = book
        self._recorder = recorder
        self._clock = clock

    # --- the inspection thread's side --------------------------------------------------------

    def show(
        self, station: Station, *, model: LoadedModel | None, is_connected: bool, now_ns: int
    ) -> None:
        """Say how things stand."""
        recipe, state, alarms = station.recipe, station.state, station.alarms
        self.snapshot = Snapshot(
            station_state=state,
            is_connected=is_connected,
            recipe_id=recipe.recipe_id if recipe else None,
            recipe_version=recipe.version if recipe else None,
            model=model,
            text=alarms[0].cause if alarms else WHY_NOT_READY.get(state, ""),
            seen_ns=now_ns,
        )

    def show_model(self, model: LoadedModel) -> None:
        """Another model judges."""
        self.snapshot = replace(self.snapshot, model=model)

    # --- CloudInbox --------------------------------------------------------------------------

    def post_recipe(self, desired: DesiredRecipe) -> None:
        """A recipe came from the cloud."""
        self._mailbox.post_outside(CloudRecipe(desired))

    def post_command(self, command: Command) -> None:
        """A command came from the cloud."""
        self._mailbox.post_outside(CloudCommand(command))

    def post_event(self, event: StationEvent) -> None:
        """Something that others of the agent want recorded."""
        self._recorder.post_event(Occurrence(event, self._clock.now()))

    # --- ModelHost ---------------------------------------------------------------------------

    @property
    def active(self) -> LoadedModel | None:
        """The model that judges parts now."""
        return self.snapshot.model

    def swap(self, model: LoadedModel, *, timeout_s: float) -> LoadedModel | None:
        """Let ``model`` judge from the next part on; blocks until it does.

        Raises:
            SwapError: the recipe does not suit the model, or no pause between cycles came.
        """
        done: Future[LoadedModel | None] = Future()
        self._mailbox.post(SwapRequest(model, done))
        try:
            return done.result(timeout_s)
        except FutureTimeoutError as error:
            if not done.cancel():  # the inspection thread took it on at this very moment
                return done.result()
            raise SwapError(f"no pause between two cycles within {timeout_s:g} s") from error

    # --- PictureInspector --------------------------------------------------------------------

    def submit(self, request: PictureRequest) -> Future[CycleOutcome]:
        """Queue a picture; the future resolves once it is judged.

        Raises:
            OverloadError: the queue is full.
            NotReadyError: the station does not inspect.
            UnknownNameError: there is no such recipe or view.
        """
        snapshot = self.snapshot
        if snapshot.station_state not in INSPECTING or snapshot.model is None:
            raise NotReadyError(f"station is {snapshot.station_state}: {snapshot.text}")
        name = request.recipe_id or snapshot.recipe_id or ""
        recipe = self._book.get(name)
        if recipe is None:
            raise UnknownNameError(f"there is no recipe {name!r}")
        view = recipe.view(request.view or recipe.views[0].name)
        if view is None:
            raise UnknownNameError(f"recipe {name} has no view {request.view!r}")
        return self._pictures.put(request, recipe, view, arrived_ns=self._clock.monotonic_ns())

    def health(self) -> Health:
        """State for probes; never blocks."""
        snapshot = self.snapshot
        is_ready = snapshot.station_state in INSPECTING and snapshot.is_connected
        text = snapshot.text if snapshot.is_connected else "cell broker not reachable"
        return Health(self.is_live(), is_ready, snapshot.station_state, "" if is_ready else text)

"""The model that judges, and those that want to. Used on the inspection thread only."""

import logging
from collections.abc import Callable

from edge_agent.controls import Controls
from edge_agent.errors import SwapError
from edge_agent.judgement import unknown_expected
from edge_agent.mailbox import SwapRequest
from edge_agent.ports import LoadedModel
from edge_agent.station import Station
from edge_agent.telemetry import Telemetry
from models.contract.bundle import ModelRef

logger = logging.getLogger(__name__)


class ModelSlot:
    """Holds the running model and changes it between two cycles."""

    def __init__(
        self,
        model: LoadedModel | None,
        *,
        station: Station,
        controls: Controls,
        telemetry: Telemetry,
    ) -> None:
        self.active = model
        self.on_swap: Callable[[LoadedModel], None] = lambda _model: None
        """Told before whoever asked for the change is."""
        self._station = station
        self._controls = controls
        self._telemetry = telemetry
        self._request: SwapRequest | None = None

    @property
    def ref(self) -> ModelRef | None:
        """Which model judges now."""
        return self.active.ref if self.active else None

    def show(self) -> None:
        """Tell everybody which model judges."""
        if self.active is not None:
            self._controls.categories = self.active.detector.categories
            self._telemetry.show_model(self.active.ref)

    def request(self, request: SwapRequest) -> None:
        """Note that somebody wants a change; a second wish before the first is done is refused."""
        if self._request is not None and not self._request.done.cancelled():
            request.done.set_exception(SwapError("another model is being taken over"))
            return
        self._request = request

    def swap_if_asked(self) -> None:
        """Change the model if somebody wants it; call only while no cycle runs."""
        request, self._request = self._request, None
        if request is None or not request.done.set_running_or_notify_cancel():
            return
        recipe = self._station.recipe
        unknown = unknown_expected(recipe, request.model.detector.categories) if recipe else ()
        if unknown:
            text = f"recipe {recipe.recipe_id} expects {', '.join(unknown)}" if recipe else ""
            request.done.set_exception(SwapError(f"{text}, which the model does not know"))
            return
        old, self.active = self.active, request.model
        self.show()
        ref = request.model.ref
        self._controls.note("model_swapped", f"{ref.name} r{ref.release} {ref.bundle_id}")
        self.on_swap(request.model)
        request.done.set_result(old)

    def close(self, request: SwapRequest | None = None) -> None:
        """Refuse who still wants a change: the agent stops."""
        for waiting in (request, self._request):
            if waiting is not None and waiting.done.set_running_or_notify_cancel():
                waiting.done.set_exception(SwapError("the agent stops"))
        self._request = None

"""Commands from PLC and cloud, and recipes from the cloud. Used on the inspection thread only."""

import logging
from collections import OrderedDict
from collections.abc import Callable

from edge_agent.errors import FeatureRefusedError, StationFault, StorageError
from edge_agent.jobs import Job
from edge_agent.judgement import unknown_expected, unknown_forbidden
from edge_agent.ports import Clock
from edge_agent.recipes import RecipeBook
from edge_agent.recorder import Contradiction, Occurrence, Recorder
from edge_agent.station import Station
from models.contract.messages import Command, CommandAck, CommandKind, DesiredRecipe, StationEvent
from models.contract.recipe import Recipe

logger = logging.getLogger(__name__)

NUM_REMEMBERED = 200
BUSY = "a part is being inspected: select the recipe between parts"


class Controls:
    """Carries out commands on the station and keeps its recipe."""

    def __init__(
        self,
        *,
        station: Station,
        book: RecipeBook,
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        self.categories: tuple[str, ...] | None = None
        """Of the running model; None while there is none."""
        self.on_reset: Callable[[], None] = lambda: None
        self._station = station
        self._book = book
        self._recorder = recorder
        self._clock = clock
        self._acks: OrderedDict[str, CommandAck] = OrderedDict()
        self._waiting_recipe: Recipe | None = None
        self._untried_recipe: Recipe | None = None
        self.on_recipe: Callable[[Recipe], None] = lambda _: None
        """Told of every recipe that comes into force."""

    def carry_out(self, command: Command) -> CommandAck:
        """Do what was asked; a repeated command_id gets the stored answer and does nothing."""
        known = self._acks.get(command.command_id)
        if known is not None:
            return known
        refusal = self._do(command)
        ack = CommandAck(
            command_id=command.command_id, accepted=refusal is None, text=(refusal or "")[:200]
        )
        self._acks[ack.command_id] = ack
        while len(self._acks) > NUM_REMEMBERED:
            self._acks.popitem(last=False)
        return ack

    def take_recipe(self, desired: DesiredRecipe) -> None:
        """Keep a recipe from the cloud; it comes into force between two parts."""
        recipe = desired.recipe
        if not self._book.is_newer(recipe):
            return
        refusal = self._unsuitable(recipe)
        if refusal is None and any(view.camera_features for view in recipe.views):
            self._untried_recipe = recipe  # the camera has a say
            return
        self._keep(recipe, refusal)

    def take_untried(self) -> Recipe | None:
        """A recipe from the cloud whose camera features are to be tried; `rehearsed` is next."""
        recipe, self._untried_recipe = self._untried_recipe, None
        return recipe

    def rehearsed(self, recipe: Recipe, fault: StationFault | None) -> None:
        """The camera was asked whether it takes what a recipe from the cloud wants of it."""
        if not self._book.is_newer(recipe):
            return  # it is in force already
        if fault is None or isinstance(fault, FeatureRefusedError):
            self._keep(recipe, str(fault) if fault else None)
        elif self._untried_recipe is None:
            self._untried_recipe = recipe  # the camera is gone: once more when it is back

    def _keep(self, recipe: Recipe, refusal: str | None) -> None:
        if refusal is None:
            try:
                self._book.put(recipe)
            except StorageError as error:
                refusal = str(error)
        if refusal is not None:
            self.note("recipe_refused", f"{recipe.recipe_id} v{recipe.version}: {refusal}")
            return
        self.note("recipe_kept", f"{recipe.recipe_id} v{recipe.version}")
        if self._station.recipe and self._station.recipe.recipe_id == recipe.recipe_id:
            self._waiting_recipe = recipe
        self.change_recipe_if_due()

    def change_recipe_if_due(self) -> None:
        """Bring a recipe that waits for the end of a part into force."""
        recipe = self._waiting_recipe
        if recipe is None or not self._station.is_between_jobs:
            return
        self._waiting_recipe = None
        selected = self._station.recipe
        if selected and selected.recipe_id == recipe.recipe_id:
            self.use(recipe)

    def use(self, recipe: Recipe) -> None:
        """Select a recipe and say so."""
        self._station.recipe = recipe
        if self.categories is not None and (blind := unknown_forbidden(recipe, self.categories)):
            logger.warning("not checked, unknown to the model", extra={"defects": blind})
        self.note("recipe_selected", f"{recipe.recipe_id} v{recipe.version}")
        self.on_recipe(recipe)

    def note(self, code: str, text: str = "") -> None:
        """Record an event of the station."""
        logger.info("%s", code, extra={"text": text})
        event = StationEvent(code=code, text=text[:500], station_state=self._station.state)
        self._recorder.post_event(Occurrence(event, self._clock.now()))

    def note_aborted(self, job: Job) -> None:
        """Record that a part was given up; no verdict on it was ever given."""
        missing = ", ".join(job.missing_views)
        self.note("job_aborted", f"part {job.part_id}: no picture of view {missing}")

    def _do(self, command: Command) -> str | None:
        """Why the command cannot be carried out, or None once it has been."""
        match command.kind:
            case CommandKind.SELECT_RECIPE:
                return self._select(command.recipe_id or "")
            case CommandKind.START:
                self._station.start()
            case CommandKind.STOP:
                self._station.halt()
            case CommandKind.RESET:
                job = self._station.reset()
                if job is not None:
                    self.note_aborted(job)
                self.on_reset()
            case CommandKind.REPORT_TRUTH if command.part_id and command.actual:
                self._recorder.post_contradiction(
                    Contradiction(command.part_id, command.actual, self._clock.now())
                )
                return None
        self.note(f"command_{command.kind}")
        return None

    def _select(self, recipe_id: str) -> str | None:
        recipe = self._book.get(recipe_id)
        if recipe is None:
            return f"there is no recipe {recipe_id!r}"
        if not self._station.is_between_jobs:
            return BUSY
        refusal = self._unsuitable(recipe)
        if refusal is None and recipe is not self._station.recipe:
            self.use(recipe)
        return refusal

    def _unsuitable(self, recipe: Recipe) -> str | None:
        if self.categories is None:
            return None
        unknown = unknown_expected(recipe, self.categories)
        return f"the model does not know {', '.join(unknown)}" if unknown else None

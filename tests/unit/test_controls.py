"""Commands and recipes: what changes between two parts, and what is refused."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.controls import Controls
from edge_agent.errors import ConfigurationError
from edge_agent.jobs import ViewDecision
from edge_agent.recipes import RecipeBook
from edge_agent.recorder import Contradiction, Occurrence, Recorder
from edge_agent.station import Station
from models.contract.messages import (
    Command,
    CommandAck,
    CommandKind,
    DesiredRecipe,
    StationState,
    Trigger,
    Verdict,
)
from models.contract.recipe import ExpectedObject, Recipe, View

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Notebook(Recorder):
    """Takes down what it is told."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.contradictions: list[Contradiction] = []

    def post_event(self, occurrence: Occurrence) -> None:
        self.events.append(occurrence.event.code)

    def post_contradiction(self, contradiction: Contradiction) -> None:
        self.contradictions.append(contradiction)


def recipe(recipe_id: str = "plate", version: int = 1, expects: str = "bolt") -> Recipe:
    expected = ExpectedObject(name="one", category=expects)
    return Recipe(
        recipe_id=recipe_id,
        version=version,
        part_type="plate",
        image_width_px=64,
        image_height_px=48,
        views=(View(expected=(expected,)),),
    )


class Cell:
    def __init__(self, folder: Path) -> None:
        self.store = folder / "store"
        recipes = [recipe(), recipe("cover"), recipe("nutty", expects="nut")]
        self.book = RecipeBook({item.recipe_id: item for item in recipes}, self.store)
        self.station = Station(resend_ns=1, hold_ns=10**12, job_timeout_ns=10**12)
        self.recorder = Notebook()
        self.controls = Controls(
            station=self.station, book=self.book, recorder=self.recorder, clock=SystemClock()
        )
        self.controls.categories = ("bolt",)
        self.controls.use(recipe())
        self.num_commands = 0

    def command(self, kind: CommandKind, **fields: object) -> CommandAck:
        self.num_commands += 1
        values = {"command_id": f"c{self.num_commands}", "kind": kind} | fields
        return self.controls.carry_out(Command.model_validate(values))

    def push(self, pushed: Recipe) -> None:
        self.controls.take_recipe(DesiredRecipe(recipe=pushed, issued_at=NOW))

    @property
    def in_force(self) -> tuple[str, int]:
        assert self.station.recipe is not None
        return self.station.recipe.recipe_id, self.station.recipe.version


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    return Cell(tmp_path)


def begin_part(cell: Cell) -> None:
    recipe_id, _ = cell.in_force
    trigger = Trigger(trigger_id="t1", part_id="p1", recipe_id=recipe_id)
    assert cell.station.admit(trigger, arrived_ns=0).execution is not None


def end_part(cell: Cell) -> None:
    cell.station.decide(ViewDecision(Verdict.OK), model=None, now_ns=0)
    cell.station.acknowledge("t1")


def test_recipe_is_selected_between_parts_only(cell: Cell) -> None:
    begin_part(cell)
    refused = cell.command(CommandKind.SELECT_RECIPE, recipe_id="cover")
    end_part(cell)
    accepted = cell.command(CommandKind.SELECT_RECIPE, recipe_id="cover")
    assert (refused.accepted, accepted.accepted) == (False, True)
    assert "between parts" in refused.text
    assert cell.in_force == ("cover", 1)


@pytest.mark.parametrize(
    ("recipe_id", "said"),
    [
        pytest.param("nothing", "no recipe 'nothing'", id="there is none"),
        pytest.param("nutty", "does not know nut", id="the model cannot see its objects"),
    ],
)
def test_recipe_that_cannot_work_is_not_selected(cell: Cell, recipe_id: str, said: str) -> None:
    ack = cell.command(CommandKind.SELECT_RECIPE, recipe_id=recipe_id)
    assert not ack.accepted
    assert said in ack.text
    assert cell.in_force == ("plate", 1)


def test_recipe_from_the_cloud_waits_for_the_end_of_the_part(cell: Cell) -> None:
    begin_part(cell)
    cell.push(recipe(version=2))
    assert cell.in_force == ("plate", 1)
    end_part(cell)
    cell.controls.change_recipe_if_due()
    assert cell.in_force == ("plate", 2)


def test_recipe_from_the_cloud_survives_a_restart(cell: Cell, tmp_path: Path) -> None:
    cell.push(recipe("cover", version=5))
    assert cell.in_force == ("plate", 1), "another recipe is selected"
    installed = tmp_path / "installed"
    installed.mkdir()
    (installed / "cover.toml").write_text(_toml())
    book = RecipeBook.read(installed, cell.store)
    known = book.get("cover")
    assert known is not None
    assert known.version == 5


@pytest.mark.parametrize(
    ("pushed", "event"),
    [
        pytest.param(recipe(version=1), None, id="nothing new"),
        pytest.param(recipe(version=2, expects="nut"), "recipe_refused", id="unknown object"),
    ],
)
def test_recipe_that_brings_nothing_or_harm_is_left_out(
    cell: Cell, pushed: Recipe, event: str | None
) -> None:
    cell.recorder.events.clear()
    cell.push(pushed)
    assert cell.in_force == ("plate", 1)
    assert cell.recorder.events == ([event] if event else [])


def test_repeated_command_gets_the_same_answer_and_does_nothing(cell: Cell) -> None:
    command = Command(
        command_id="c1", kind=CommandKind.REPORT_TRUTH, part_id="p1", actual=Verdict.NOT_OK
    )
    first, second = cell.controls.carry_out(command), cell.controls.carry_out(command)
    assert first == second
    assert len(cell.recorder.contradictions) == 1


def test_stop_start_and_reset_move_the_station(cell: Cell) -> None:
    tried: list[bool] = []
    cell.controls.on_reset = lambda: tried.append(True)
    states = []
    for kind in (CommandKind.STOP, CommandKind.START, CommandKind.STOP, CommandKind.RESET):
        assert cell.command(kind).accepted
        states.append(cell.station.state)
    halted, ready = StationState.HALTED, StationState.READY
    assert states == [halted, ready, halted, ready]
    assert tried == [True]


def test_folder_with_several_recipes_needs_a_choice(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(_toml())
    (tmp_path / "b.toml").write_text(_toml().replace("cover", "plate"))
    book = RecipeBook.read(tmp_path, tmp_path / "store")
    assert book.choose("plate").recipe_id == "plate"
    with pytest.raises(ConfigurationError, match="cover, plate"):
        book.choose(None)
    with pytest.raises(ConfigurationError, match="there is only"):
        book.choose("box")
    (tmp_path / "c.toml").write_text(_toml())
    with pytest.raises(ConfigurationError, match="two files"):
        RecipeBook.read(tmp_path, tmp_path / "store")


def _toml() -> str:
    return """
recipe_id = "cover"
version = 1
part_type = "plate"
image_width_px = 64
image_height_px = 48
views = [{ name = "main" }]
"""

"""`/fleet`: which cell runs what, how it goes there, and how far it has drifted."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

from fastapi import Request
from nicegui import ui
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.api.context import Context
from cloud.auth import Identity
from cloud.dashboard.blocks import Blocks
from cloud.dashboard.desk import Desk
from cloud.dashboard.drift_dialog import open_drift
from cloud.dashboard.feed import Feed
from cloud.dashboard.fleet_blocks import FleetRow, events_block, head_block, rollout_block
from cloud.dashboard.fleet_view import FleetState, Json, drift_view, fleet_view
from cloud.dashboard.frame import Frame, guarded
from cloud.dashboard.pieces import button, confirm, empty, panel, skeleton, small_dialog, text
from cloud.db.tables import Cell, DeadLetter, Role, StationLogEntry
from models.contract.messages import FollowMode

PERIOD_S = 2.0
DRIFT_PERIOD_S = 60.0
NUM_RELEASES = 30
NUM_EVENTS = 12
NUM_OF_CELL = 4
MAX_ASKED = 50
"""Cells whose last words are shown; more would cost more than they tell."""
MAX_COUNTED = 10_000
HEADS = ("Cell", "State", "Runs", "Should run", "Takes new models", "Waiting", "Drift", "Agent")


def install(frame: Frame) -> None:
    """Register the page."""
    context = frame.context
    rules = context.settings.rollout
    feed = Feed(lambda: fleet_view(read_state(context), rules), period_s=PERIOD_S)
    watch = context.learning.drift
    drift = Feed(lambda: drift_view(watch.cells()), period_s=DRIFT_PERIOD_S)

    def build(request: Request, identity: Identity) -> None:
        with frame.page(request, identity, title="Fleet", current="/fleet"):
            page = FleetPage(context, feed, identity)
        feed.follow(page.show)
        drift.follow(page.show_drift)

    ui.page("/fleet")(guarded(frame, build))


def read_state(context: Context) -> FleetState:
    """Read what the page shows.

    Raises:
        UnavailableError: the database cannot be read.
    """
    with context.database.read() as session:
        cells = session.scalars(select(Cell).order_by(Cell.cell)).all()
        events = _newest_events(session, [cell.cell for cell in cells])
        some = select(DeadLetter.id).limit(MAX_COUNTED).subquery()
        letters = session.scalar(select(func.count()).select_from(some)) or 0
    return FleetState(
        at=datetime.now().astimezone(),
        cells=cells,
        releases=context.learning.registry.recent(limit=NUM_RELEASES),
        rollouts=context.learning.fleet.recent(limit=1),
        events=events,
        num_dead_letters=letters,
    )


def _newest_events(session: Session, cells: Sequence[str]) -> list[StationLogEntry]:
    """The newest of all cells; each is asked by itself, since the index begins with the cell."""
    found: list[StationLogEntry] = []
    for cell in cells[:MAX_ASKED]:
        query = select(StationLogEntry).where(StationLogEntry.cell == cell)
        newest = query.order_by(StationLogEntry.created_at.desc()).limit(NUM_OF_CELL)
        found += session.scalars(newest)
    return sorted(found, key=lambda entry: entry.created_at, reverse=True)[:NUM_EVENTS]


class FleetPage:
    """The page in one browser."""

    def __init__(self, context: Context, feed: Feed[Json], identity: Identity) -> None:
        self._fleet = context.learning.fleet
        self._feed = feed
        self._identity = identity
        self._desk = Desk(identity)
        self._view: Json = {}
        self._drift: Mapping[str, Json] = {}
        self._rows: dict[str, FleetRow] = {}
        self._blocks = Blocks()
        for name, height in (("head", 64), ("cells", 260), ("rollout", 160)):
            with self._blocks.place(name):
                skeleton(height)
        self._blocks.place("events")

    def show(self, view: Json) -> None:
        """Bring the page up to date."""
        self._view = view
        figures = {key: view[key] for key in ("online", "alarms", "waiting", "dead_letters")}
        show = self._blocks.show
        show("head", [figures, len(view["cells"])], lambda: head_block(view))
        show("cells", [cell["cell"] for cell in view["cells"]], self._cells)
        for cell in view["cells"]:
            self._rows[cell["cell"]].show(cell | {"drift": self._drift.get(cell["cell"])})
        rollout = view["rollout"]
        show("rollout", rollout, lambda: self._rollout(rollout))
        show("events", view["events"] or None, lambda: events_block(view["events"]))

    def show_drift(self, drift: Mapping[str, Json]) -> None:
        """Take over the drift of every cell."""
        self._drift = drift
        if self._view:
            self.show(self._view)

    # --- blocks ------------------------------------------------------------------------------

    def _cells(self) -> None:
        if not self._view["cells"]:
            with ui.element("section").classes("sl-panel"):
                empty(
                    "No cell has reported yet",
                    "A cell appears here with its first heartbeat.",
                    code="sightline-edge run --config edge.toml",
                )
            return
        self._rows = {}
        may = self._identity.may(Role.CONTROLS)
        with panel("Cells", "sl-scroll"), ui.element("table").classes("sl-table sl-fleet"):
            with ui.element("thead"), ui.element("tr"):
                for head in HEADS:
                    with ui.element("th"):
                        text(head)
            with ui.element("tbody"):
                for cell in self._view["cells"]:
                    path = cell["cell"]
                    self._rows[path] = FleetRow(
                        path,
                        on_mode=partial(self._mode, cell) if may else None,
                        on_drift=partial(self._open_drift, cell),
                    )

    def _open_drift(self, cell: Json) -> None:
        open_drift(cell, self._drift.get(cell["cell"]))

    def _rollout(self, rollout: Json | None) -> None:
        if rollout is None:
            return
        actions: list[tuple[str, Callable[[], None]]] = []
        if self._identity.may(Role.CONTROLS):
            if rollout["is_open"]:
                actions.append(("Stop rollout", lambda: self._ask_stop(rollout["rollout_id"])))
            actions.append(("Roll back", self._ask_roll_back))
        rollout_block(rollout, self._view["rules"], actions)

    # --- doing -------------------------------------------------------------------------------

    def _mode(self, cell: Json, mode: str) -> None:
        if mode == FollowMode.PIN:
            self._ask_pin(cell)
            return
        words = {
            FollowMode.PAUSE.value: (
                f"Keep {cell['title']} from changing?",
                "It keeps the model that it runs now, whatever is rolled out.",
                "Pause",
            ),
            FollowMode.FOLLOW.value: (
                f"Let {cell['title']} follow again?",
                "It takes the newest model that went through a whole rollout.",
                "Follow",
            ),
        }[mode]
        confirm(*words, lambda: self._set_mode(cell, FollowMode(mode), None))

    def _ask_pin(self, cell: Json) -> None:
        options: dict[int, str] = {row["release"]: row["title"] for row in self._view["releases"]}
        if not options:
            ui.notify("No release is approved yet: there is nothing to pin to.", type="warning")
            return
        with small_dialog() as dialog:
            text(f"Pin {cell['title']}", "sl-h2")
            text(
                "It runs this release until somebody changes it, whatever is rolled out.",
                "sl-muted",
            )
            choice = ui.select(options, value=next(iter(options)), label="Release")
            choice.props("outlined dense options-dense")

            async def pin() -> None:
                dialog.close()
                await self._set_mode(cell, FollowMode.PIN, choice.value)

            with ui.element("div").classes("sl-row"):
                button("Cancel", dialog.close)
                button("Pin", pin, kind="primary").classes("sl-push")

    async def _set_mode(self, cell: Json, mode: FollowMode, release: int | None) -> None:
        await self._do(
            lambda: self._fleet.set_mode(
                cell["cell"], mode, actor=self._identity.name, release=release
            ),
            f"{cell['title']}: {mode.value}",
        )

    def _ask_stop(self, rollout_id: str) -> None:
        confirm(
            "Stop this rollout?",
            "Cells that were not told yet keep the model they have.",
            "Stop rollout",
            lambda: self._do(
                lambda: self._fleet.stop(rollout_id, actor=self._identity.name),
                "The rollout is stopped",
            ),
            kind="danger",
        )

    def _ask_roll_back(self) -> None:
        confirm(
            "Roll back to the release before?",
            "All cells that follow get its bundle at once, under a new release number.",
            "Roll back",
            lambda: self._do(
                lambda: self._fleet.roll_back(actor=self._identity.name),
                "Rolling back to the release before",
            ),
            kind="danger",
        )

    async def _do(self, deed: Callable[[], object], done: str) -> None:
        await self._desk.do(deed, done)
        self._feed.expire()

"""`/models`: every release, better or not, where it comes from and where it runs."""

from collections.abc import Callable

from fastapi import Request
from nicegui import ui
from sqlalchemy import select

from cloud.api.context import Context
from cloud.auth import Identity
from cloud.dashboard import wording
from cloud.dashboard.blocks import Blocks
from cloud.dashboard.desk import Desk
from cloud.dashboard.feed import Feed
from cloud.dashboard.frame import Frame, guarded
from cloud.dashboard.models_blocks import (
    card_dialog,
    cells_text,
    fleet_block,
    headline,
    judged,
    lineage_block,
    map50_text,
    nothing,
    rollout_block,
)
from cloud.dashboard.models_view import Json, ModelsState, models_view
from cloud.dashboard.pieces import button, chip, confirm, skeleton, text
from cloud.db.tables import Cell, Role, RunState, Snapshot, TrainingRun

PERIOD_S = 1.0
NUM_RELEASES = 50
NUM_ROLLOUTS = 20
NUM_RUNS = 5
RUNS_IN_PROGRESS = (RunState.QUEUED, RunState.RUNNING)
SETBACKS = (RunState.REFUSED, RunState.FAILED)
OPEN = ("running", "paused")
"""States of a rollout that goes on."""


def install(frame: Frame) -> None:
    """Register the page."""
    context = frame.context
    feed = Feed(lambda: models_view(read_state(context)), period_s=PERIOD_S)

    def build(request: Request, identity: Identity) -> None:
        with frame.page(request, identity, title="Models", current="/models"):
            page = ModelsPage(context, feed, identity, request.query_params.get("release", ""))
        feed.follow(page.show)

    ui.page("/models")(guarded(frame, build))


def read_state(context: Context) -> ModelsState:
    """Read what the page shows.

    Raises:
        UnavailableError: the database cannot be read.
    """
    learning = context.learning
    releases = learning.registry.recent(limit=NUM_RELEASES)
    newest = learning.retraining.recent(limit=NUM_RUNS)
    ended = next((run for run in newest if run.state not in RUNS_IN_PROGRESS), None)
    with context.database.read() as session:
        wanted = [release.run_id for release in releases if release.run_id]
        runs = session.scalars(select(TrainingRun).where(TrainingRun.run_id.in_(wanted))).all()
        used = [release.lineage.get("snapshot_id") for release in releases]
        used += [run.snapshot_id for run in runs]
        snapshots = session.scalars(
            select(Snapshot).where(Snapshot.snapshot_id.in_([key for key in used if key]))
        ).all()
        cells = session.scalars(select(Cell).order_by(Cell.cell)).all()
    return ModelsState(
        releases=releases,
        runs={run.run_id: run for run in runs},
        snapshots={snapshot.snapshot_id: snapshot for snapshot in snapshots},
        rollouts=learning.fleet.recent(limit=NUM_ROLLOUTS),
        cells=cells,
        refused=ended if ended and ended.state in SETBACKS else None,
    )


class ModelsPage:
    """The page in one browser: each block is built again only when what it shows has changed."""

    def __init__(self, context: Context, feed: Feed[Json], identity: Identity, chosen: str) -> None:
        self._learning = context.learning
        self._feed = feed
        self._identity = identity
        self._desk = Desk(identity)
        self._chosen = int(chosen) if chosen.isdigit() else 0
        self._view: Json = {"releases": [], "cells": [], "wanted": 0, "refused": None}
        self._blocks = Blocks()
        self._blocks.place("refused")
        with ui.element("div").classes("sl-split"):
            with self._blocks.place("list", ui.element("section").classes("sl-panel sl-list")):
                skeleton(200)
            with ui.element("div").classes("sl-col sl-split__main"):
                for name in ("head", "figures", "rollout", "lineage", "fleet"):
                    self._blocks.place(name)
                with self._blocks.place("waiting"):
                    skeleton(420)

    def show(self, view: Json) -> None:
        """Bring the page up to date."""
        self._view = view
        if all(release["release"] != self._chosen for release in view["releases"]):
            self._chosen = first_choice(view)
        self._draw()

    def _draw(self) -> None:
        view, show = self._view, self._blocks.show
        chosen = next((r for r in view["releases"] if r["release"] == self._chosen), None)
        show("waiting", None if chosen else "nothing", nothing)
        show("refused", view["refused"], lambda: self._refused(view["refused"]))
        show("list", [self._chosen, view["releases"]], self._releases)
        show("fleet", view["cells"] or None, lambda: fleet_block(view["cells"]))
        if chosen is None:
            for name in ("head", "figures", "rollout", "lineage"):
                show(name, None, nothing)
            return
        rollout, lineage = chosen["rollout"], chosen["lineage"]
        is_open = rollout is not None and rollout["state"] in OPEN
        head = {key: value for key, value in chosen.items() if key != "rollout"}
        show("head", [head, is_open], lambda: self._head(chosen, is_open))
        measured = [chosen[key] for key in ("release", "before", "after", "gates")]
        show("figures", measured, lambda: judged(chosen))
        show("rollout", rollout, lambda: rollout_block(rollout))
        show("lineage", lineage, lambda: lineage_block(lineage))

    def _choose(self, release: int) -> None:
        self._chosen = release
        ui.navigate.history.replace(f"/models?release={release}")
        self._draw()

    # --- blocks ------------------------------------------------------------------------------

    def _refused(self, refused: Json) -> None:
        with ui.element("div").classes("sl-alarm sl-alarm--unsure").style("margin: 0"):
            ui.element("i").classes("sl-sign sl-sign--alarm")
            with ui.element("p"):
                text("The last training led to no release.").style("font-weight: 600")
                text(f"{wording.sentence(refused['text'])}.")
            ui.link("See the run", f"/training?run={refused['run_id']}").classes("sl-push")

    def _releases(self) -> None:
        with ui.element("div").classes("sl-list__head"):
            text("Releases", "sl-h2")
        for release in self._view["releases"]:
            number = release["release"]
            classes = "sl-list__item" + (" is-current" if number == self._chosen else "")
            item = ui.element("button").classes(classes)
            item.on("click", lambda _, chosen=number: self._choose(chosen))
            with item:
                with ui.element("span").classes("sl-row"):
                    text(release["title"]).style("font-weight: 600")
                    chip(release["state_words"], release["tone"]).classes("sl-push")
                with ui.element("span").classes("sl-row sl-small sl-muted"):
                    text(f"mAP {map50_text(release['after'])}", "sl-num")
                    text(release["origin"])
                with ui.element("span").classes("sl-row sl-small sl-faint"):
                    text(release["created"])
                    if release["num_running"]:
                        text(f"runs on {cells_text(release['num_running'])}", "sl-push")
        if not self._view["releases"]:
            text("None yet", "sl-muted").style("padding: 8px 16px 16px")

    def _head(self, release: Json, is_rolling_out: bool) -> None:
        with ui.element("section").classes("sl-panel sl-release"):
            with ui.element("div"):
                with ui.element("div").classes("sl-row"):
                    with ui.element("h1"):
                        text(release["title"])
                    chip(release["state_words"], release["tone"])
                where = (
                    f"Runs on {cells_text(release['num_running'])}"
                    if release["num_running"]
                    else "Runs nowhere"
                )
                text(
                    f"{where}. {wording.sentence(release['origin'])} {release['created']}.",
                    "sl-muted",
                )
            headline(release["before"], release["after"])
            with ui.element("div").classes("sl-row sl-wrap sl-push"):
                self._looks(release)
                if self._identity.may(Role.CONTROLS):
                    self._actions(release, is_rolling_out)

    def _looks(self, release: Json) -> None:
        button("Model card", lambda: card_dialog(release["release"], release["title"]))
        if release["compared_run"]:
            target = f"/models/compare?run={release['compared_run']}"
            button("Compare pictures", lambda: ui.navigate.to(target))

    def _actions(self, release: Json, is_rolling_out: bool) -> None:
        number, state = release["release"], release["state"]
        may_release = self._identity.may(Role.ML)
        following = sum(cell["is_following"] for cell in self._view["cells"])
        if may_release and state != "withdrawn" and not release["is_wanted"] and not is_rolling_out:
            button("Withdraw", lambda: self._ask_withdraw(number), kind="danger")
        if may_release and state in {"candidate", "approved"} and not is_rolling_out:
            button("Promote", lambda: self._ask_promote(number, following), kind="primary")
        elif state == "rolled_out" and number < self._view["wanted"]:
            button("Roll back to this", lambda: self._ask_roll_back(number), kind="primary")
        if is_rolling_out:
            rollout_id = release["rollout"]["rollout_id"]
            button("Stop rollout", lambda: self._ask_stop(rollout_id), kind="danger")
        if release["is_wanted"] and number > 1:
            button("Roll back", lambda: self._ask_roll_back(None), kind="danger")

    # --- doing -------------------------------------------------------------------------------

    def _ask_promote(self, release: int, following: int) -> None:
        confirm(
            f"Promote release {release}?",
            f"It is signed and goes to the canary first, then to the rest of "
            f"{cells_text(following)}. Each cell checks it on golden pictures and runs it beside "
            "the present model before it swaps between two parts.",
            "Promote",
            lambda: self._do(lambda: self._promote(release), f"Release {release} is on its way"),
        )

    def _promote(self, release: int) -> None:
        self._learning.registry.approve(release, actor=self._identity.name)
        self._learning.fleet.start_rollout(release, actor=self._identity.name)

    def _ask_roll_back(self, release: int | None) -> None:
        which = f"release {release}" if release else "the release before"
        confirm(
            f"Roll back to {which}?",
            "All cells that follow get its bundle at once, under a new release number.",
            "Roll back",
            lambda: self._do(
                lambda: self._learning.fleet.roll_back(actor=self._identity.name, release=release),
                f"Rolling back to {which}",
            ),
            kind="danger",
        )

    def _ask_withdraw(self, release: int) -> None:
        confirm(
            f"Withdraw release {release}?",
            "Cells can no longer install it, and nobody can roll back to it.",
            "Withdraw",
            lambda: self._do(
                lambda: self._learning.registry.withdraw(release, actor=self._identity.name),
                f"Release {release} is withdrawn",
            ),
            kind="danger",
        )

    def _ask_stop(self, rollout_id: str) -> None:
        confirm(
            "Stop this rollout?",
            "Cells that were not told yet keep the model they have.",
            "Stop rollout",
            lambda: self._do(
                lambda: self._learning.fleet.stop(rollout_id, actor=self._identity.name),
                "The rollout is stopped",
            ),
            kind="danger",
        )

    async def _do(self, deed: Callable[[], object], done: str) -> None:
        await self._desk.do(deed, done)
        self._feed.expire()


def first_choice(view: Json) -> int:
    """The release that most likely brings somebody here; 0 when there is none."""
    releases = view["releases"]
    on_its_way = [r for r in releases if r["rollout"] and r["rollout"]["state"] in OPEN]
    to_decide = [r for r in releases if r["state"] == "candidate"]
    in_use = [r for r in releases if r["release"] == view["wanted"]]
    choice = [*on_its_way, *to_decide, *in_use, *releases]
    return int(choice[0]["release"]) if choice else 0

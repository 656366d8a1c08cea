"""`/training`: runs, the one in progress live, and what would start the next."""

from collections.abc import Callable

from fastapi import Request
from nicegui import ui

from cloud.auth import Identity
from cloud.dashboard import wording
from cloud.dashboard.blocks import Blocks
from cloud.dashboard.desk import Desk
from cloud.dashboard.feed import Feed
from cloud.dashboard.frame import Frame, guarded
from cloud.dashboard.models_blocks import figures, gate_row, headline
from cloud.dashboard.pieces import button, chip, confirm, empty, facts, panel, skeleton, text
from cloud.dashboard.training_view import (
    Json,
    curve_chart,
    outlook_view,
    policy_words,
    run_line,
    run_view,
)
from cloud.db.tables import Role
from cloud.learning import LearningServices

PERIOD_S = 1.0
NUM_RUNS = 30


def install(frame: Frame) -> None:
    """Register the page."""
    learning = frame.context.learning
    settings = frame.context.settings.retraining

    def look() -> Json:
        retraining = learning.retraining
        outlook = outlook_view(retraining.outlook(), retraining.state(), settings.min_new_labels)
        return {
            "runs": [run_line(run) for run in retraining.recent(limit=NUM_RUNS)],
            "outlook": outlook | {"policy": policy_words(settings)},
        }

    feed = Feed(look, period_s=PERIOD_S)
    runs = RunFeeds(learning)

    def build(request: Request, identity: Identity) -> None:
        with frame.page(request, identity, title="Training", current="/training"):
            page = TrainingPage(learning, feed, runs, identity, request.query_params.get("run", ""))
        feed.follow(page.show)
        ui.timer(PERIOD_S / 2, page.look_at_run)

    ui.page("/training")(guarded(frame, build))


class RunFeeds:
    """A feed for each run that somebody looks at, shared by all who do."""

    def __init__(self, learning: LearningServices) -> None:
        self._learning = learning
        self._feeds: dict[str, Feed[Json]] = {}

    def of(self, run_id: str) -> Feed[Json]:
        """The feed of one run."""
        if run_id not in self._feeds:
            retraining = self._learning.retraining
            self._feeds[run_id] = Feed(
                lambda: run_view(retraining.details(run_id)), period_s=PERIOD_S
            )
        return self._feeds[run_id]


class TrainingPage:
    """The page in one browser."""

    def __init__(
        self,
        learning: LearningServices,
        feed: Feed[Json],
        runs: RunFeeds,
        identity: Identity,
        chosen: str,
    ) -> None:
        self._retraining = learning.retraining
        self._feed = feed
        self._runs = runs
        self._may_train = identity.may(Role.ML)
        self._desk = Desk(identity)
        self._chosen = chosen
        self._known: set[str] = set()
        self._view: Json | None = None
        self._blocks = Blocks()
        self._chart: ui.echart | None = None
        self._log: ui.html | None = None
        with ui.element("section").classes("sl-panel sl-outlook"):
            self._blocks.place("outlook")
        with ui.element("div").classes("sl-split"):
            with self._blocks.place("list", ui.element("section").classes("sl-panel sl-list")):
                skeleton(200)
            with ui.element("div").classes("sl-col sl-split__main"):
                for name in ("head", "curve", "outcome", "figures", "log"):
                    self._blocks.place(name)
                with self._blocks.place("waiting"):
                    skeleton(420)

    # --- taking over what is new --------------------------------------------------------------

    def show(self, view: Json) -> None:
        """Bring list and outlook up to date; a run that begins is shown."""
        self._view = view
        ids = [run["run_id"] for run in view["runs"]]
        begun = [run["run_id"] for run in view["runs"] if run["is_open"]]
        is_first = not self._known
        if begun and begun[0] not in self._known and not (is_first and self._chosen in ids):
            self._chosen = begun[0]
        if self._chosen not in ids:
            self._chosen = ids[0] if ids else ""
        self._known = set(ids)
        self._blocks.show("outlook", view["outlook"], lambda: self._outlook(view["outlook"]))
        self._blocks.show("list", [self._chosen, view["runs"]], lambda: self._list(view["runs"]))
        if not ids:
            self._blocks.show("waiting", "nothing", _nothing)

    async def look_at_run(self) -> None:
        """Bring the chosen run up to date."""
        chosen = self._chosen
        if not chosen:
            return
        feed = self._runs.of(chosen)
        await feed.refresh()
        if feed.value is not None and chosen == self._chosen:
            self._show_run(feed.value)

    def _show_run(self, run: Json) -> None:
        blocks = self._blocks
        blocks.show("waiting", None, _nothing)
        head = {key: run[key] for key in ("run_id", "words", "progress", "stages", "error")}
        blocks.show("head", head, lambda: self._head(run))
        has_figures = run["after"] is not None
        outcome = [run["run_id"], run["gates"], run["facts"], run["release"]]
        blocks.show("outcome", outcome, lambda: self._outcome(run))
        shown = [run["run_id"], run["before"], run["after"]] if has_figures else None
        blocks.show("figures", shown, lambda: figures(run["before"], run["after"]))
        blocks.show("curve", run["run_id"] if run["curve"] else None, self._curve)
        if self._chart is not None and run["curve"]:
            options = curve_chart(run["curve"])
            if self._chart.options != options:
                self._chart.options.clear()
                self._chart.options.update(options)
        blocks.show(
            "log", [run["run_id"], run["log"]] if run["log"] else None, lambda: _log(run["log"])
        )

    def _choose(self, run_id: str) -> None:
        self._chosen = run_id
        ui.navigate.history.replace(f"/training?run={run_id}")
        if self._view is not None:
            self.show(self._view)
        for name in ("head", "curve", "outcome", "figures", "log"):
            self._blocks.show(name, None, _nothing)

    # --- blocks -------------------------------------------------------------------------------

    def _outlook(self, outlook: Json) -> None:
        with ui.element("div").classes("sl-row sl-wrap"):
            with ui.element("div").classes("sl-grow"):
                with ui.element("div").classes("sl-row"):
                    text("Next training", "sl-h2")
                    text(f"{wording.sentence(outlook['reason'])}.", "sl-muted")
                if outlook["ratio"] is not None:
                    _meter(outlook["ratio"])
                text(outlook["policy"], "sl-muted sl-small")
                if outlook["boxes"]:
                    new = ", ".join(outlook["boxes"])
                    text(
                        f"Boxes of categories that the model does not know: {new}",
                        "sl-muted sl-small",
                    )
            if self._may_train:
                button(
                    "Start training", self._ask_start, kind="primary", enabled=outlook["may_start"]
                )

    def _list(self, runs: list[Json]) -> None:
        with ui.element("div").classes("sl-list__head"):
            text("Runs", "sl-h2")
        for run in runs:
            classes = "sl-list__item" + (" is-current" if run["run_id"] == self._chosen else "")
            item = ui.element("button").classes(classes)
            item.on("click", lambda _, chosen=run["run_id"]: self._choose(chosen))
            with item:
                with ui.element("span").classes("sl-row"):
                    text(run["created"]).style("font-weight: 500")
                    chip(run["words"], run["tone"], sign=run["sign"]).classes("sl-push")
                with ui.element("span").classes("sl-row sl-small sl-muted"):
                    text(wording.sentence(run["trigger"]))
                    if run["map50"]:
                        text(f"mAP {run['map50']}", "sl-push sl-num")
        if not runs:
            text("None yet", "sl-muted").style("padding: 0 16px 14px")

    def _head(self, run: Json) -> None:
        with ui.element("section").classes("sl-panel sl-run"):
            with ui.element("div").classes("sl-row"):
                with ui.element("h1"):
                    text(run["run_id"])
                chip(run["words"], run["tone"], sign=run["sign"])
                if run["is_open"] and self._may_train:
                    cancel = button(
                        "Cancel run",
                        lambda: self._ask_cancel(run["run_id"]),
                        kind="danger",
                        small=True,
                    )
                    cancel.classes("sl-push")
            with ui.element("ol").classes("sl-stages"):
                for stage in run["stages"]:
                    with ui.element("li").classes(f"is-{stage['state']}"):
                        text(stage["title"])
            if run["is_open"]:
                _progress(run["progress"])
            if run["error"]:
                with ui.element("div").classes("sl-alarm").style("margin: 4px 0 0"):
                    ui.element("i").classes("sl-sign sl-sign--alarm")
                    text(wording.sentence(run["error"]))

    def _outcome(self, run: Json) -> None:
        with ui.element("div").classes("sl-pair"):
            with panel("Run"):
                facts(run["facts"])
            with panel("Outcome"):
                if run["after"] is not None:
                    headline(run["before"], run["after"])
                for gate in run["gates"]:
                    gate_row(gate)
                if not run["gates"]:
                    text("The gates judge the candidate when it is measured.", "sl-muted")
                if run["release"]:
                    ui.link(f"Release {run['release']}", f"/models?release={run['release']}")

    def _curve(self) -> None:
        with panel("Loss and mAP by step"):
            self._chart = ui.echart(curve_chart([])).style("height: 270px; width: 100%")

    # --- doing --------------------------------------------------------------------------------

    def _ask_start(self) -> None:
        confirm(
            "Start a training now?",
            "It makes a snapshot of all labels, trains on Spark beside the running server, and "
            "compares the candidate with the running model on the locked set.",
            "Start training",
            lambda: self._do(
                lambda: self._retraining.request(actor=self._desk.identity.name), "Training starts"
            ),
        )

    def _ask_cancel(self, run_id: str) -> None:
        confirm(
            "Cancel this run?",
            "Its process ends within seconds and no candidate comes of it.",
            "Cancel run",
            lambda: self._do(
                lambda: self._retraining.cancel(run_id, actor=self._desk.identity.name),
                "The run is ending",
            ),
            kind="danger",
        )

    async def _do(self, deed: Callable[[], object], done: str) -> None:
        await self._desk.do(deed, done)
        self._feed.expire()


def _nothing() -> None:
    with ui.element("section").classes("sl-panel"):
        empty(
            "No training yet",
            "It starts by itself when enough pictures are labelled, or with the button above. "
            "It needs a snapshot to start from: import one with sightline-train import and "
            "register it with POST /v1/snapshots.",
        )


def _meter(ratio: float) -> None:
    with ui.element("div").classes("sl-meter").props('role="progressbar"'):
        ui.element("i").style(f"width: {100 * ratio:.1f}%")


def _progress(progress: Json) -> None:
    ratio = progress["ratio"]
    if ratio is None:
        ui.element("div").classes("sl-meter sl-meter--unknown")
    else:
        _meter(ratio)
    with ui.element("div").classes("sl-row sl-muted sl-num"):
        text(" · ".join(progress["words"]))
        if progress["left"]:
            text(f"about {progress['left']} left in this stage", "sl-push")


def _log(tail: str) -> None:
    with panel("Log"), ui.element("pre").classes("sl-log"):
        text(tail.rstrip())

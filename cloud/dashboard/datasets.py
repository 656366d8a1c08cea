"""`/datasets`: snapshots with figures and samples, doubtful labels, agreement, and the lineage."""

from asyncio import to_thread
from typing import Any

from fastapi import Request
from nicegui import ui

from cloud.api.context import Context
from cloud.auth import Identity
from cloud.dashboard import wording
from cloud.dashboard.blocks import Blocks
from cloud.dashboard.datasets_reading import (
    read_doubts,
    read_figures,
    read_sample,
    read_view,
)
from cloud.dashboard.datasets_view import SPLIT_WORDS, Json
from cloud.dashboard.feed import Feed
from cloud.dashboard.frame import Frame, guarded
from cloud.dashboard.lineage_view import lineage_svg
from cloud.dashboard.picture_sheet import PictureSheet
from cloud.dashboard.pieces import button, chip, confirm, empty, facts, panel, skeleton, table, text
from cloud.db.tables import Role, Snapshot
from cloud.errors import CloudError
from models.contract.snapshot import Split

PERIOD_S = 5.0
SHEET_SIZE = 24
FORMATS = {
    "coco": "COCO",
    "yolo": "YOLO",
    "voc": "Pascal VOC",
    "labelstudio": "Label Studio",
    "fiftyone": "FiftyOne",
}


def install(frame: Frame) -> None:
    """Register the page."""
    context = frame.context
    feed = Feed(lambda: read_view(context), period_s=PERIOD_S)

    def build(request: Request, identity: Identity) -> None:
        with frame.page(request, identity, title="Datasets", current="/datasets"):
            page = DatasetsPage(context, feed, identity, request.query_params.get("snapshot", ""))
        feed.follow(page.show)

    ui.page("/datasets")(guarded(frame, build))


class DatasetsPage:
    """The page in one browser."""

    def __init__(self, context: Context, feed: Feed[Json], identity: Identity, chosen: str) -> None:
        self._context = context
        self._learning = context.learning
        self._feed = feed
        self._identity = identity
        self._chosen = chosen
        self._loaded = ""
        self._split, self._category, self._limit = "", "", SHEET_SIZE
        self._sheet: PictureSheet | None = None
        self._view: Json = {"snapshots": []}
        self._blocks = Blocks()
        with ui.element("div").classes("sl-split"):
            with self._blocks.place("list", ui.element("section").classes("sl-panel sl-list")):
                skeleton(200)
            with ui.element("div").classes("sl-col sl-split__main"):
                for name in ("head", "figures", "sample", "doubts", "agreement"):
                    self._blocks.place(name)
                with self._blocks.place("waiting"):
                    skeleton(420)
        self._blocks.place("lineage")

    def show(self, view: Json) -> None:
        """Bring the page up to date."""
        self._view = view
        known = [row["snapshot_id"] for row in view["snapshots"]]
        if self._chosen not in known:
            self._chosen = known[0] if known else ""
        self._blocks.show("list", [self._chosen, view["snapshots"]], self._list)
        chosen = f"snapshot:{self._chosen}"
        self._blocks.show(
            "lineage", [chosen, view["lineage"]] if known else None, lambda: self._lineage(chosen)
        )
        self._blocks.show("agreement", view["agreement"], self._agreement)
        row = next((r for r in view["snapshots"] if r["snapshot_id"] == self._chosen), None)
        if row is None:
            self._blocks.show("waiting", "nothing", _nothing)
            return
        head = [row, view["new_labels"] if row["is_newest"] else 0]
        self._blocks.show("head", head, lambda: self._head(row))
        if self._loaded != self._chosen:
            self._loaded = self._chosen
            ui.timer(0.01, self._load, once=True)

    def _choose(self, snapshot_id: str) -> None:
        self._chosen = snapshot_id
        self._split, self._category, self._limit = "", "", SHEET_SIZE
        ui.navigate.history.replace(f"/datasets?snapshot={snapshot_id}")
        self.show(self._view)

    async def _load(self) -> None:
        snapshot_id = self._chosen
        try:
            figures = await to_thread(read_figures, self._learning, snapshot_id)
            doubts = await to_thread(read_doubts, self._context, snapshot_id)
        except CloudError as error:
            cause = wording.sentence(str(error))
            for name in ("figures", "sample", "doubts"):
                self._blocks.show(name, None, _nothing)
            self._blocks.show("waiting", cause, lambda: _unreadable(cause))
            return
        self._blocks.show("waiting", None, _nothing)
        self._blocks.show("figures", figures, lambda: _figures(figures))
        categories = {row["name"]: row["category"] for row in figures["sides"]}
        self._blocks.show("sample", [snapshot_id], lambda: self._sample(categories))
        self._blocks.show("doubts", doubts or None, lambda: _doubts(doubts))
        await self._fill()

    async def _fill(self) -> None:
        if self._sheet is None:
            return
        pictures, total = await to_thread(
            read_sample,
            self._learning,
            self._chosen,
            split=self._split,
            category=self._category,
            limit=self._limit,
        )
        self._sheet.show(pictures, total=total)

    # --- blocks -------------------------------------------------------------------------------

    def _list(self) -> None:
        with ui.element("div").classes("sl-list__head"):
            text("Snapshots", "sl-h2")
        for row in self._view["snapshots"]:
            classes = "sl-list__item" + (
                " is-current" if row["snapshot_id"] == self._chosen else ""
            )
            item = ui.element("button").classes(classes)
            item.on("click", lambda _, chosen=row["snapshot_id"]: self._choose(chosen))
            with item:
                with ui.element("span").classes("sl-row"):
                    text(row["snapshot_id"][:8], "sl-code").style("font-weight: 600")
                    if row["is_newest"]:
                        chip("newest", "accent").classes("sl-push")
                with ui.element("span").classes("sl-row sl-small sl-muted"):
                    text(f"{wording.count_text(row['num_pictures'])} pictures", "sl-num")
                    text(f"{wording.count_text(row['num_boxes'])} boxes", "sl-num sl-push")
                text(row["created"], "sl-small sl-faint")
        if not self._view["snapshots"]:
            text("None yet", "sl-muted").style("padding: 8px 16px 16px")

    def _head(self, row: Json) -> None:
        may_build = self._identity.may(Role.ML)
        with ui.element("section").classes("sl-panel sl-release"):
            with ui.element("div").style("max-width: none"):
                with ui.element("h1").classes("sl-code"):
                    text(row["snapshot_id"])
                parts = ", ".join(f"{count} {name}" for name, count in row["splits"])
                text(f"{parts}. Made {row['created']} by {row['by']}.", "sl-muted")
                if row["refused"]:
                    text(f"Left out at import: {', '.join(row['refused'])}", "sl-muted sl-small")
            with ui.element("div").classes("sl-row sl-wrap sl-push"):
                self._export(row["snapshot_id"])
                if row["is_newest"] and may_build:
                    count = self._view["new_labels"]
                    words = f"Make the next ({count} new labels)" if count else "No new labels"
                    button(words, self._ask_build, kind="primary", enabled=count > 0)

    def _export(self, snapshot_id: str) -> None:
        with ui.element("button").classes("sl-button").props('type="button"'):
            text("Export")
            with ui.menu():
                for key, name in FORMATS.items():
                    url = f"/v1/snapshots/{snapshot_id}/export?format={key}"
                    ui.menu_item(name, lambda target=url: ui.navigate.to(target))

    def _sample(self, categories: dict[str, str]) -> None:
        with panel("Pictures and labels"):
            with ui.element("div").classes("sl-row sl-wrap").style("padding-bottom: 10px"):
                splits = {"": "Every split"} | {
                    split.value: wording.sentence(SPLIT_WORDS[split]) for split in Split
                }
                names = {"": "Every category"} | categories
                split = ui.select(splits, value=self._split).props("outlined dense")
                split.classes("sl-field").on_value_change(
                    lambda event: self._filter(split=event.value)
                )
                category = ui.select(names, value=self._category).props("outlined dense")
                category.classes("sl-field").on_value_change(
                    lambda event: self._filter(category=event.value)
                )
            self._sheet = PictureSheet(on_more=self._more)

    async def _filter(self, **changed: Any) -> None:  # noqa: ANN401 - of the select
        self._split = changed.get("split", self._split)
        self._category = changed.get("category", self._category)
        self._limit = SHEET_SIZE
        await self._fill()

    async def _more(self) -> None:
        self._limit += SHEET_SIZE
        await self._fill()

    def _lineage(self, chosen: str) -> None:
        with panel("Lineage"), ui.element("div").style("overflow-x: auto"):
            ui.html(lineage_svg(self._view["lineage"], chosen=chosen), sanitize=False)

    def _agreement(self) -> None:
        view = self._view["agreement"]
        with panel("Agreement of reviewers"), ui.element("div").classes("sl-pair"):
            with ui.element("div"), table(("Reviewers", "Agree", "Kappa", "IoU")):
                for row in [{"names": "All"} | view["overall"], *view["people"]]:
                    with ui.element("tr"):
                        for key in ("names", "pictures", "kappa", "iou"):
                            with ui.element("td"):
                                text(row[key], "" if key == "names" else "sl-num")
            with ui.element("div"), table(("Category", "Both marked it")):
                for row in view["categories"]:
                    with ui.element("tr"):
                        with ui.element("td"):
                            text(row["category"])
                        with ui.element("td"):
                            text(row["text"], "sl-num")

    # --- doing --------------------------------------------------------------------------------

    def _ask_build(self) -> None:
        confirm(
            "Make a snapshot of all labels?",
            "It continues this one: the same pictures, the labels that changed, and the new ones. "
            "A part keeps its split.",
            "Make it",
            self._build,
        )

    async def _build(self) -> None:
        try:
            made: Snapshot = await to_thread(
                self._learning.datasets.build, actor=self._identity.name
            )
        except CloudError as error:
            ui.notify(wording.sentence(str(error)), type="negative", timeout=8000)
            return
        ui.notify(f"Snapshot {made.snapshot_id[:8]} is made", type="positive")
        self._chosen = made.snapshot_id
        self._feed.expire()


def _figures(view: Json) -> None:
    with ui.element("div").classes("sl-pair"):
        with panel("Boxes of each category"):
            chart = ui.echart(view["chart"])
            chart.style(f"height: {max(150, view['height'])}px; width: 100%")
        with panel("Sizes"):
            heads = ("Category", "Boxes", "Pictures", "Side, px (10 · 50 · 90 %)")
            with table(heads, right={"Boxes", "Pictures", "Side, px (10 · 50 · 90 %)"}):
                for row in view["sides"]:
                    with ui.element("tr"):
                        for key in ("category", "num_boxes", "num_pictures", "sides"):
                            with ui.element("td").classes("" if key == "category" else "sl-right"):
                                text(str(row[key]), "" if key == "category" else "sl-num")
            ui.element("div").style("height: 10px")
            facts(view["facts"])


def _doubts(doubts: list[Json]) -> None:
    with panel("Likely label errors"):
        text(
            "Where the newest model that was judged on this snapshot contradicts a label with "
            "confidence. It never saw these pictures in training.",
            "sl-muted sl-small",
        ).style("padding-bottom: 10px")
        PictureSheet(on_more=lambda: None).show(doubts, total=len(doubts))


def _nothing() -> None:
    with ui.element("section").classes("sl-panel"):
        empty(
            "No snapshot yet",
            "Import labelled pictures to begin with, and register what comes of it with "
            "POST /v1/snapshots.",
            code="sightline-train import --labels labels.json --images pictures --snapshot URL",
        )


def _unreadable(cause: str) -> None:
    with ui.element("section").classes("sl-panel"):
        empty("This snapshot cannot be shown", cause)

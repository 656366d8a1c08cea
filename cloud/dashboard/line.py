"""`/`: every cell at a glance, for the people beside the machines."""

from asyncio import to_thread

from fastapi import Request
from nicegui import ui

from cloud.auth import Identity
from cloud.dashboard import queries, wording
from cloud.dashboard.elements import CellCard, ContradictButton, Picture
from cloud.dashboard.feed import Feed
from cloud.dashboard.frame import Frame, guarded
from cloud.dashboard.legend import Legend, read_legend
from cloud.dashboard.line_monitor import LineMonitor, LineState
from cloud.dashboard.line_view import Json, are_all_silent, cell_card, summary
from cloud.dashboard.links import part_url
from cloud.dashboard.pieces import empty, verdict_text
from cloud.db.tables import Role

PERIOD_S = 0.5
LEGEND_PERIOD_S = 10.0

TILES = (
    ("parts", "parts this shift", ""),
    ("yield_ratio", "first-pass yield", ""),
    ("not_ok", "NOT_OK", "not_ok"),
    ("not_decidable", "NOT_DECIDABLE", "not_decidable"),
    ("pending", "pictures to review", ""),
)


def install(frame: Frame) -> None:
    """Register the page."""
    database = frame.context.database
    monitor = LineMonitor(database, frame.context.clock)
    legends = Feed(lambda: read_legend(database), period_s=LEGEND_PERIOD_S)

    def look() -> tuple[LineState, Json]:
        state = monitor.look()
        cards = [cell_card(cell, state, legends.value or Legend()) for cell in state.cells]
        return state, {"cards": cards, "summary": summary(state), "silent": are_all_silent(state)}

    feed = Feed(look, period_s=PERIOD_S)

    def build(request: Request, identity: Identity) -> None:
        with frame.page(request, identity, title="Line", current="/"):
            page = LinePage(frame, identity, legends)
        feed.follow(lambda value: page.show(*value))
        legends.follow(lambda _: None)

    ui.page("/")(guarded(frame, build))


class LinePage:
    """The page in one browser."""

    def __init__(self, frame: Frame, identity: Identity, legends: Feed[Legend]) -> None:
        self._frame = frame
        self._legends = legends
        self._identity = identity
        self._cards: dict[str, CellCard] = {}
        self._tiles: dict[str, ui.label] = {}
        self._head()
        self._banner = ui.element("div").classes("sl-alarm").style("margin: 0")
        with self._banner:
            ui.element("i").classes("sl-sign sl-sign--alarm")
            ui.label(
                "No cell is heard any more. Check the broker and that sightline-cloud ingest runs."
            )
        self._banner.visible = False
        self._grid = ui.element("div").classes("sl-cells")
        with self._grid:
            for _ in range(2):
                ui.element("div").classes("sl-skeleton").style("height: 520px")

    def _head(self) -> None:
        with ui.element("section").classes("sl-panel sl-tiles"):
            for key, name, sign in TILES:
                with ui.element("div").classes("sl-tile"):
                    with ui.element("div").classes("sl-tile__value"):
                        if sign:
                            classes = f"sl-sign sl-sign--{sign} sl-verdict-text--{sign}"
                            ui.element("i").classes(classes).style("font-size: 17px")
                        self._tiles[key] = ui.label(wording.UNKNOWN)
                    if key == "pending":
                        ui.link(name, "/review").classes("sl-tile__name")
                    else:
                        ui.label(name).classes("sl-tile__name")

    def show(self, state: LineState, view: Json) -> None:
        """Bring the page up to date."""
        figures = view["summary"]
        for key, label in self._tiles.items():
            label.set_text(_figure(key, figures[key]))
        self._banner.visible = view["silent"]
        server_ms = wording.milliseconds(state.at)
        cards = view["cards"]
        if [card["cell"] for card in cards] != list(self._cards) or not cards:
            self._lay_out(cards, server_ms)
        for card in cards:
            self._cards[card["cell"]].show(card, server_ms=server_ms)

    def _lay_out(self, cards: list[Json], server_ms: float) -> None:
        if not cards and self._cards == {} and self._grid.default_slot.children == []:
            return
        self._grid.clear()
        self._cards = {}
        with self._grid:
            for card in cards:
                self._cards[card["cell"]] = CellCard(
                    card,
                    server_ms=server_ms,
                    may_report=self._identity.may(Role.OPERATOR),
                    on_said=_tell,
                    on_open=self._open,
                )
            if not cards:
                with ui.element("div").classes("sl-panel"):
                    empty(
                        "No cell has reported yet",
                        "Start an agent with the address of this broker in its [uplink] section. "
                        "It appears here with its first heartbeat.",
                        code="sightline-edge run --config edge.toml",
                    )

    async def _open(self, result_id: str) -> None:
        found = await to_thread(
            queries.result_with_image,
            self._frame.context.database,
            self._legends.value or Legend(),
            result_id,
        )
        if found is None:
            return
        with ui.dialog() as dialog, ui.element("div").classes("sl-panel sl-dialog"):
            self._reject(dialog, found)
        dialog.on("hide", dialog.delete)
        dialog.open()

    def _reject(self, dialog: ui.dialog, found: Json) -> None:
        with ui.element("div").classes("sl-row"):
            verdict_text(found["verdict"])
            ui.link(found["part_id"], part_url(found["part_id"])).classes("sl-h2")
            ui.label(f"{found['cell_title']}, {found['ago']}").classes("sl-muted sl-push")
        Picture(
            found["url"],
            width=found["width"],
            height=found["height"],
            boxes=found["boxes"],
            alt=found["part_id"],
            none="The cell did not send this picture",
        )
        for reason in found["reasons"]:
            ui.label(reason)
        with ui.element("div").classes("sl-row"):
            kind = {"ok": "missed_defect", "not_ok": "false_reject"}.get(found["verdict"])
            if kind is not None and self._identity.may(Role.OPERATOR):

                def said(answer: Json) -> None:
                    dialog.close()
                    _tell(answer)

                ContradictButton(kind, found["result_id"], on_said=said)
            with ui.element("button").classes("sl-button sl-push").on("click", dialog.close):
                ui.label("Close")


def _tell(answer: Json) -> None:
    """Say what the API answered."""
    text = wording.sentence(str(answer.get("text", "")))
    ui.notify(text, type="positive" if answer.get("ok") else "negative", timeout=6000)


def _figure(key: str, value: float | None) -> str:
    if key == "yield_ratio":
        return wording.ratio_text(value)
    return wording.count_text(int(value or 0))

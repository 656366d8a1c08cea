"""`/trace`: every inspection, found by serial number, time, class, score, cell or reason."""

from asyncio import to_thread
from collections.abc import Callable
from datetime import datetime, time
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from nicegui import ui
from starlette.datastructures import QueryParams

from cloud.auth import Identity
from cloud.dashboard import wording
from cloud.dashboard.elements import ResultsTable
from cloud.dashboard.frame import Frame, guarded
from cloud.dashboard.legend import read_legend
from cloud.dashboard.result_queries import (
    Cursor,
    Json,
    Search,
    cells,
    count_newer,
    result_page,
)
from cloud.results import ResultFilter
from cloud.score_search import ScoreBand
from cloud.shifts import PERIODS, SHIFT_STARTS, stretch_of
from models.contract.messages import HardReason, ReasonCode, Verdict

NEWER_PERIOD_S = 3.0
KEYS = (
    "part", "cell", "verdict", "category", "low", "high", "code", "reason", "period", "from", "to",
)  # fmt: skip

# In the browser: what was just typed may not have reached the server yet.
OPEN_PART = """(event) => {
  const part = event.target.value.trim();
  if (part) window.location.href = `/parts/${encodeURIComponent(part)}`;
}"""


def install(frame: Frame) -> None:
    """Register the page."""

    async def build(request: Request, identity: Identity) -> None:
        database = frame.context.database
        known = await to_thread(cells, database)
        legend = await to_thread(read_legend, database)
        with frame.page(request, identity, title="Trace", current="/trace"):
            page = TracePage(frame, request.query_params, known, sorted(legend.kinds))
        ui.timer(0.01, page.reload, once=True)
        ui.timer(NEWER_PERIOD_S, page.look_for_newer)

    ui.page("/trace")(guarded(frame, build))


def search_of(
    chosen: dict[str, str], now: datetime, starts: tuple[time, ...] = SHIFT_STARTS
) -> Search:
    """Turn what is chosen in the bar into a search; what cannot be read does not narrow."""
    since, until = stretch_of(
        chosen.get("period", ""),
        now,
        starts=starts,
        start=chosen.get("from", ""),
        end=chosen.get("to", ""),
    )
    verdict, reason, code = chosen.get("verdict"), chosen.get("reason"), chosen.get("code")
    category = chosen.get("category") or None
    band = None
    if category and (chosen.get("low") or chosen.get("high")):
        # With a score, every box of the class counts; without, those that decided the verdict.
        band = ScoreBand(category, _score(chosen.get("low"), 0.0), _score(chosen.get("high"), 1.0))
        category = None
    wanted = ResultFilter(
        cell=chosen.get("cell") or None,
        verdict=Verdict(verdict) if verdict in set(Verdict) else None,
        category=category,
        reason=ReasonCode(code) if code in set(ReasonCode) else None,
        hard_reason=HardReason(reason) if reason in set(HardReason) else None,
        part_id=(chosen.get("part") or "").strip() or None,
        since=since,
        until=until,
    )
    return Search(wanted, band)


def _score(text: str | None, otherwise: float) -> float:
    try:
        return min(1.0, max(0.0, float(text or "")))
    except ValueError:
        return otherwise


class TracePage:
    """The page in one browser."""

    def __init__(
        self, frame: Frame, parameters: QueryParams, known_cells: list[str], categories: list[str]
    ) -> None:
        self._database = frame.context.database
        self._clock = frame.context.clock
        self._chosen = {key: parameters.get(key, "") for key in KEYS}
        self._rows: list[Json] = []
        self._next: Cursor | None = None
        self._newest: datetime | None = None
        self._edition = 0
        """Counts changes of the filter."""
        with ui.element("section").classes("sl-panel sl-filters"):
            self._bar(known_cells, categories)
        with ui.element("section").classes("sl-panel"):
            self._table = ResultsTable(on_more=self.more, on_refresh=self.reload)

    def _bar(self, known_cells: list[str], categories: list[str]) -> None:
        serial = self._input("part", "Serial number")
        serial.props("autofocus").on("keydown.enter", js_handler=OPEN_PART)
        serial.tooltip("The whole serial number; Enter opens the part")
        self._select("cell", "Cell", {c: wording.cell_title(c) for c in known_cells}, "All cells")
        self._select(
            "verdict", "Verdict", {v.value: wording.VERDICT_WORDS[v] for v in Verdict}, "All"
        )
        self._select("category", "Class", {c: wording.plain(c) for c in categories})
        self._band = ui.element("div").classes("sl-row sl-row--tight")
        with self._band:
            self._input("low", "Score from", kind="number").classes("sl-field--score")
            self._input("high", "to", kind="number").classes("sl-field--score")
        self._select(
            "code",
            "Reason",
            {c.value: wording.sentence(wording.REASON_WORDS[c]) for c in ReasonCode},
        )
        self._select(
            "reason",
            "Picture kept because",
            {r.value: wording.HARD_REASON_WORDS[r] for r in HardReason},
        )
        self._select("period", "Time", PERIODS, "Any time")
        self._range = ui.element("div").classes("sl-row")
        with self._range:
            self._input("from", "From", kind="datetime-local")
            self._input("to", "To", kind="datetime-local")
        self._show_ranges()
        with ui.element("button").classes("sl-button sl-push").on("click", self._clear):
            ui.label("Clear")

    def _show_ranges(self) -> None:
        self._range.visible = self._chosen["period"] == "range"
        self._band.visible = bool(self._chosen["category"])

    def _select(self, key: str, label: str, options: dict[str, str], every: str = "Any") -> None:
        options = {"": every} | options
        if self._chosen[key] not in options:
            self._chosen[key] = ""
        ui.select(
            options, value=self._chosen[key], label=label, on_change=self._on_change(key)
        ).props("outlined dense options-dense").classes("sl-field")

    def _input(self, key: str, label: str, *, kind: str = "text") -> ui.input:
        field = ui.input(label, value=self._chosen[key], on_change=self._on_change(key))
        step = " min=0 max=1 step=0.05" if kind == "number" else " clearable"
        field.props(f"outlined dense debounce=250 type={kind} stack-label{step}")
        return field.classes("sl-field")

    def _on_change(self, key: str) -> Callable[[Any], Any]:
        async def change(event: Any) -> None:  # noqa: ANN401 - NiceGUI's event
            self._chosen[key] = event.value or ""
            self._show_ranges()
            query = urlencode({key: value for key, value in self._chosen.items() if value})
            ui.navigate.history.replace(f"/trace?{query}" if query else "/trace")
            await self.reload()

        return change

    def _clear(self) -> None:
        ui.navigate.to("/trace")

    def _search(self) -> Search:
        return search_of(self._chosen, self._clock.now(), self._clock.shift_starts)

    async def reload(self) -> None:
        """Show the newest rows that match."""
        self._rows, self._next, self._newest = [], None, None
        self._edition += 1
        await self.more()

    async def more(self) -> None:
        """Show the rows that follow."""
        edition = self._edition
        self._table.show(self._rows, has_more=self._next is not None, loading=True)
        page = await to_thread(result_page, self._database, self._search(), after=self._next)
        if edition != self._edition:
            return  # the filter changed meanwhile; its own answer is on the way
        self._rows += page.rows
        self._newest = self._newest or page.newest
        self._next = page.next
        self._table.show(
            self._rows, has_more=page.next is not None, loading=False, searched=page.searched
        )

    async def look_for_newer(self) -> None:
        """Say how many parts came since, without moving the rows under the reader's eyes."""
        search = self._search()
        if self._newest is None or search.band is not None:
            return
        count = await to_thread(count_newer, self._database, search.wanted, self._newest)
        self._table.show_newer(count)

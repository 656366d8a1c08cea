"""`/results`: every inspection, narrowed by cell, verdict, category, reason, part and time."""

from asyncio import to_thread
from collections.abc import Callable
from datetime import datetime, timedelta
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
from cloud.dashboard.result_queries import Cursor, Json, cells, count_newer, result_page
from cloud.dashboard.shift import shift_start
from cloud.results import ResultFilter
from models.contract.messages import HardReason, Verdict

NEWER_PERIOD_S = 3.0
PERIODS = {
    "": "Any time",
    "1h": "Last hour",
    "shift": "This shift",
    "24h": "Last 24 hours",
    "7d": "Last 7 days",
    "range": "From … to …",
}
_LENGTHS = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7)}
KEYS = ("cell", "verdict", "category", "reason", "part", "period", "from", "to")


def install(frame: Frame) -> None:
    """Register the page."""

    async def build(request: Request, identity: Identity) -> None:
        database = frame.context.database
        known = await to_thread(cells, database)
        legend = await to_thread(read_legend, database)
        with frame.page(request, identity, title="Results", current="/results"):
            page = ResultsPage(frame, request.query_params, known, sorted(legend.kinds))
        ui.timer(0.01, page.reload, once=True)
        ui.timer(NEWER_PERIOD_S, page.look_for_newer)

    ui.page("/results")(guarded(frame, build))


def filter_of(chosen: dict[str, str], now: datetime) -> ResultFilter:
    """Turn what is chosen in the bar into a filter; what cannot be read does not narrow."""
    since, until = None, None
    period = chosen.get("period", "")
    if period in _LENGTHS:
        since = now - _LENGTHS[period]
    elif period == "shift":
        since = shift_start(now)
    elif period == "range":
        since, until = _moment(chosen.get("from"), now), _moment(chosen.get("to"), now)
    verdict, reason = chosen.get("verdict"), chosen.get("reason")
    return ResultFilter(
        cell=chosen.get("cell") or None,
        verdict=Verdict(verdict) if verdict in set(Verdict) else None,
        category=chosen.get("category") or None,
        hard_reason=HardReason(reason) if reason in set(HardReason) else None,
        part_id=(chosen.get("part") or "").strip() or None,
        since=since,
        until=until,
    )


def _moment(text: str | None, now: datetime) -> datetime | None:
    try:
        return datetime.fromisoformat(text or "").replace(tzinfo=now.tzinfo)
    except ValueError:
        return None


class ResultsPage:
    """The page in one browser."""

    def __init__(
        self, frame: Frame, parameters: QueryParams, known_cells: list[str], categories: list[str]
    ) -> None:
        self._database = frame.context.database
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
        self._select(
            "cell", "Cell", {"": "All cells"} | {c: wording.cell_title(c) for c in known_cells}
        )
        self._select(
            "verdict",
            "Verdict",
            {"": "All verdicts"} | {v.value: wording.VERDICT_WORDS[v] for v in Verdict},
        )
        self._select(
            "category", "Category", {"": "Any"} | {c: wording.plain(c) for c in categories}
        )
        self._select(
            "reason",
            "Kept because",
            {"": "Any"} | {r.value: wording.HARD_REASON_WORDS[r] for r in HardReason},
        )
        self._select("period", "Time", PERIODS)
        self._range = ui.element("div").classes("sl-row")
        with self._range:
            self._input("from", "From", kind="datetime-local")
            self._input("to", "To", kind="datetime-local")
        self._range.visible = self._chosen["period"] == "range"
        self._input("part", "Part (whole serial number)")
        with ui.element("button").classes("sl-button sl-push").on("click", self._clear):
            ui.label("Clear")

    def _select(self, key: str, label: str, options: dict[str, str]) -> None:
        if self._chosen[key] not in options:
            self._chosen[key] = ""
        ui.select(
            options, value=self._chosen[key], label=label, on_change=self._on_change(key)
        ).props("outlined dense options-dense").classes("sl-field")

    def _input(self, key: str, label: str, *, kind: str = "text") -> None:
        field = ui.input(label, value=self._chosen[key], on_change=self._on_change(key))
        field.props(f"outlined dense clearable debounce=250 type={kind} stack-label").classes(
            "sl-field"
        )

    def _on_change(self, key: str) -> Callable[[Any], Any]:
        async def change(event: Any) -> None:  # noqa: ANN401 - NiceGUI's event
            self._chosen[key] = event.value or ""
            self._range.visible = self._chosen["period"] == "range"
            query = urlencode({key: value for key, value in self._chosen.items() if value})
            ui.navigate.history.replace(f"/results?{query}" if query else "/results")
            await self.reload()

        return change

    def _clear(self) -> None:
        ui.navigate.to("/results")

    def _filter(self) -> ResultFilter:
        return filter_of(self._chosen, datetime.now().astimezone())

    async def reload(self) -> None:
        """Show the newest rows that match."""
        self._rows, self._next, self._newest = [], None, None
        self._edition += 1
        await self.more()

    async def more(self) -> None:
        """Show the rows that follow."""
        edition = self._edition
        self._show(loading=True)
        page = await to_thread(result_page, self._database, self._filter(), after=self._next)
        if edition != self._edition:
            return  # the filter changed meanwhile; its own answer is on the way
        self._rows += page.rows
        self._newest = self._newest or page.newest
        self._next = page.next
        self._show(loading=False)

    async def look_for_newer(self) -> None:
        """Say how many parts came since, without moving the rows under the reader's eyes."""
        if self._newest is None:
            return
        count = await to_thread(count_newer, self._database, self._filter(), self._newest)
        self._table.show_newer(count)

    def _show(self, *, loading: bool) -> None:
        self._table.show(self._rows, has_more=self._next is not None, loading=loading)

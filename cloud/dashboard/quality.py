"""`/quality`: escapes, false rejects, yield and causes; where each category's score should lie."""

from asyncio import to_thread
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from nicegui import ui
from starlette.datastructures import QueryParams

from cloud.api.context import Context
from cloud.auth import Identity
from cloud.dashboard import wording
from cloud.dashboard.blocks import Blocks
from cloud.dashboard.feeds import Feeds, Follower
from cloud.dashboard.frame import Frame, guarded
from cloud.dashboard.operating_block import OperatingBlock
from cloud.dashboard.pieces import empty, panel, skeleton, text
from cloud.dashboard.quality_view import Figures, Json, quality_view
from cloud.dashboard.result_queries import cells
from cloud.shift_report import bucket_for, read_p_chart
from cloud.shifts import PERIODS, PlantClock
from cloud.statistics import Window
from cloud.statistics_queries import read_pareto, read_summary

PERIOD_S = 5.0
KEYS = ("cell", "period", "from", "to")
Chosen = tuple[str, str, str, str]
"""Cell, period, and from and to where the period is a range."""


def install(frame: Frame) -> None:
    """Register the page."""
    context = frame.context
    feeds: Feeds[Chosen, Json] = Feeds(lambda key: read(context, key), period_s=PERIOD_S)

    async def build(request: Request, identity: Identity) -> None:
        known = await to_thread(cells, context.database)
        with frame.page(request, identity, title="Quality", current="/quality"):
            page = QualityPage(feeds, request.query_params, known, context.clock)
            operating = OperatingBlock(context, identity)
        ui.timer(0.01, page.look, once=True)
        ui.timer(0.05, operating.load, once=True)

    ui.page("/quality")(guarded(frame, build))


def window_of(chosen: Chosen, clock: PlantClock) -> Window:
    """What the figures are counted over."""
    cell, period, start, end = chosen
    since, until = clock.stretch(period, start=start, end=end)
    return Window(cell or None, since, until)


def read(context: Context, chosen: Chosen) -> Json:
    """Count everything that the page shows.

    Raises:
        UnavailableError: the database cannot be read.
    """
    window = window_of(chosen, context.clock)
    with context.database.read() as session:
        figures = Figures(
            read_summary(session, window),
            read_pareto(session, window),
            read_p_chart(session, window, bucket_s=bucket_for(window, context.clock.now())),
        )
    return quality_view(figures, link=address_of(chosen))


def address_of(chosen: Chosen) -> dict[str, str]:
    """What is chosen, as the page's address carries it."""
    return {key: value for key, value in zip(KEYS, chosen, strict=True) if value}


class QualityPage:
    """The page in one browser."""

    def __init__(
        self,
        feeds: Feeds[Chosen, Json],
        parameters: QueryParams,
        known: list[str],
        clock: PlantClock,
    ) -> None:
        self._clock = clock
        self._values = {key: parameters.get(key, "") for key in KEYS}
        if self._values["period"] not in PERIODS:
            self._values["period"] = "24h"
        if self._values["cell"] not in known:
            self._values["cell"] = ""
        self._blocks = Blocks()
        with ui.element("section").classes("sl-panel sl-filters"):
            self._bar(known)
        with self._blocks.place("rates"):
            skeleton(96)
        with ui.element("div").classes("sl-pair sl-pair--even"):
            with self._blocks.place("chart"):
                skeleton(330)
            with self._blocks.place("causes"):
                skeleton(330)
        self._follower: Follower[Chosen, Json] = Follower(
            feeds, self._chosen, self._show, period_s=PERIOD_S
        )
        self.look = self._follower.look

    @property
    def _chosen(self) -> Chosen:
        return tuple(self._values[key] for key in KEYS)  # type: ignore[return-value]

    def _bar(self, known: list[str]) -> None:
        options = {"": "All cells"} | {cell: wording.cell_title(cell) for cell in known}
        self._select("cell", "Cell", options)
        self._select("period", "Time", PERIODS)
        self._range = ui.element("div").classes("sl-row")
        with self._range:
            for key, label in (("from", "From"), ("to", "To")):
                field = ui.input(label, value=self._values[key], on_change=self._on_change(key))
                field.props("outlined dense debounce=400 type=datetime-local stack-label")
        self._range.visible = self._values["period"] == "range"
        with ui.element("div").classes("sl-row sl-push"):
            self._csv = _report_link("Report as CSV")
            self._html = _report_link("Print report").props("target=_blank")
        self._link_reports()

    def _select(self, key: str, label: str, options: dict[str, str]) -> None:
        field = ui.select(
            options, value=self._values[key], label=label, on_change=self._on_change(key)
        )
        field.props("outlined dense options-dense").classes("sl-field")

    def _on_change(self, key: str) -> Callable[[Any], Any]:
        async def change(event: Any) -> None:  # noqa: ANN401 - NiceGUI's event
            self._values[key] = event.value or ""
            self._range.visible = self._values["period"] == "range"
            ui.navigate.history.replace(f"/quality?{urlencode(address_of(self._chosen))}")
            self._link_reports()
            await self._follower.follow(self._chosen)

        return change

    def _link_reports(self) -> None:
        window = window_of(self._chosen, self._clock)
        wanted = {
            "cell": window.cell or "",
            "since": window.since.isoformat() if window.since else "",
            "until": window.until.isoformat() if window.until else "",
        }
        query = {key: value for key, value in wanted.items() if value}
        for link, form in ((self._csv, "csv"), (self._html, "html")):
            link.props["href"] = f"/v1/reports/shift?{urlencode(query | {'format': form})}"
            link.update()

    # --- blocks ------------------------------------------------------------------------------

    def _show(self, view: Json) -> None:
        rates = {key: value for key, value in view.items() if key not in {"chart", "causes"}}
        self._blocks.show("rates", rates, lambda: _rates(view))
        self._blocks.show("chart", [view["chart"], view["signals"]], lambda: _chart(view))
        self._blocks.show("causes", view["causes"], lambda: _causes(view))


def _report_link(words: str) -> ui.element:
    link = ui.element("a").classes("sl-button sl-button--small")
    with link:
        ui.label(words)
    return link


def _rates(view: Json) -> None:
    with ui.element("section").classes("sl-panel sl-rates"):
        _rate("First-pass yield", view["first_pass"], "parts", none="no parts in this time")
        _rate(
            "Escape rate",
            view["escapes"],
            "audited OK parts",
            none="no audited OK part is labelled yet",
            hint="Bad parts among those that a random audit picked from the OK ones: "
            "the only sample that is not biased.",
        )
        _rate(
            "False-reject rate",
            view["false_rejects"],
            "reviewed rejects",
            none="no reject is reviewed yet",
            hint="Good parts among the rejects that somebody reviewed.",
        )
        with ui.element("div").classes("sl-rate"):
            text("Told from the line", "sl-label")
            with ui.element("div").classes("sl-rate__pair"):
                for key, words in (
                    ("reported_escapes", "missed"),
                    ("reported_false_rejects", "false rejects"),
                ):
                    with ui.element("div"):
                        text(wording.count_text(view[key]), "sl-rate__value sl-num")
                        text(words, "sl-small sl-muted")


def _rate(name: str, rate: Json, of: str, *, none: str, hint: str = "") -> None:
    block = ui.element("div").classes("sl-rate")
    block.props["title"] = hint
    with block:
        text(name, "sl-label")
        with ui.element("div").classes("sl-row sl-row--base"):
            text(rate["value"], "sl-rate__value sl-num")
            if rate["n"]:
                text(rate["interval"], "sl-small sl-muted sl-num")
        if not rate["n"]:
            text(none, "sl-small sl-muted")
            return
        low, high = 100 * rate["low"], 100 * rate["high"]
        with ui.element("div").classes("sl-interval"):
            ui.element("i").style(f"left: {low:.2f}%; width: {max(0.6, high - low):.2f}%")
            ui.element("b").style(f"left: {100 * rate['share']:.2f}%")
        text(
            f"{wording.count_text(rate['count'])} of {wording.count_text(rate['n'])} {of}",
            "sl-small sl-muted sl-num",
        )


def _chart(view: Json) -> None:
    with panel("Parts that were not OK, p-chart", "sl-fill"):
        if view["chart"] is None:
            empty("No parts in this time", "Choose a longer time, or another cell.")
            return
        ui.echart(view["chart"]).classes("sl-chart").style("height: 236px; width: 100%")
        text(f"{view['groups']}.", "sl-small sl-muted")
        if not view["signals"]:
            return
        with ui.element("ul").classes("sl-signals"):
            for signal in view["signals"]:
                with ui.element("li"):
                    ui.element("i").classes("sl-diamond")
                    text(signal["at"], "sl-num")
                    text(signal["text"], "sl-muted")


def _causes(view: Json) -> None:
    with panel("Why parts were not OK, Pareto", "sl-fill"):
        if not view["causes"]:
            empty("Every part was OK", "There is nothing to rank in this time.")
            return
        with ui.element("table").classes("sl-table sl-table--tight sl-pareto"):
            with ui.element("thead"), ui.element("tr"):
                for head in ("Cause", "", "Count", "Share", "Together"):
                    with ui.element("th").classes("sl-right" if head in _FIGURES else ""):
                        text(head)
            with ui.element("tbody"):
                for cause in view["causes"]:
                    with ui.element("tr"):
                        _cause(cause)


_FIGURES = {"Count", "Share", "Together"}


def _cause(cause: Json) -> None:
    with ui.element("td").classes("sl-nowrap"):
        if cause["href"]:
            ui.link(cause["words"], cause["href"])
        else:
            text(cause["words"])
    with ui.element("td").classes("sl-pareto__bar"):
        ui.element("i").style(f"width: {cause['width']:.1f}%")
    for key in ("count", "share", "together"):
        with ui.element("td").classes("sl-right sl-num"):
            text(cause[key])

"""Blocks of the Fleet page."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from nicegui import ui

from cloud.dashboard import wording
from cloud.dashboard.blocks import Blocks
from cloud.dashboard.fleet_view import CONNECTION_WORDS, DRIFT_WORDS, MODE_WORDS, OUTBOX_LATE, Json
from cloud.dashboard.pieces import button, chip, panel, text
from cloud.drift import DriftLevel

WAVE_SIGNS = {"active": "ok", "failed": "not_ok", "skipped": "none"}


def head_block(view: Json) -> None:
    """Figures of all cells together."""
    figures = (
        (f"{view['online']} of {len(view['cells'])}", "cells online", ""),
        (str(view["alarms"]), "alarms", "/"),
        (wording.count_text(view["waiting"]), "rows wait in cells", ""),
        (wording.count_text(view["dead_letters"]), "dead letters", "/dead-letters"),
    )
    with ui.element("section").classes("sl-panel sl-tiles"):
        for value, name, href in figures:
            with ui.element("div").classes("sl-tile"):
                with ui.element("div").classes("sl-tile__value"):
                    text(value)
                if href:
                    ui.link(name, href).classes("sl-tile__name")
                else:
                    text(name, "sl-tile__name")


class FleetRow:
    """One cell's row; each column is built again only when what it shows has changed.

    A press on a button that is just being replaced is lost, and cells report all the time.

    Args:
        cell: path of the cell.
        on_mode: somebody chose how the cell follows; None: this person may not choose.
        on_drift: somebody wants to see the drift.
    """

    def __init__(
        self,
        cell: str,
        *,
        on_mode: Callable[[str], None] | None,
        on_drift: Callable[[], None],
    ) -> None:
        self._on_mode = on_mode
        self._on_drift = on_drift
        self._columns = Blocks()
        self._builders: dict[str, tuple[Sequence[str], Callable[[Json], None]]] = {
            "cell": (("title", "place"), _title),
            "state": (("connection", "station", "alarms", "heard"), _state),
            "runs": (("runs", "recipe"), _runs),
            "wanted": (("wanted", "is_behind", "phase"), _wanted),
            "mode": (("mode", "pinned"), self._modes),
            "waiting": (("records", "images", "dropped"), _waiting),
            "drift": (("drift",), self._drift),
            "agent": (("version", "overruns"), _agent),
        }
        row = ui.element("tr")
        row.props["data-cell"] = cell
        with row:
            for name in self._builders:
                self._columns.place(name, ui.element("td"))

    def show(self, cell: Json) -> None:
        """Bring the row up to date."""
        for name, (keys, build) in self._builders.items():
            self._columns.show(name, {key: cell[key] for key in keys}, partial(build, cell))

    def _modes(self, cell: Json) -> None:
        if self._on_mode is None:
            text(wording.sentence(cell["mode"]))
        else:
            with ui.element("div").classes("sl-segments").props('role="group"'):
                for mode, words in MODE_WORDS.items():
                    is_now = cell["mode"] == mode.value
                    item = ui.element("button").classes("is-now" if is_now else "")
                    item.props(f'type="button" aria-pressed="{str(is_now).lower()}"')
                    item.on("click", partial(self._on_mode, mode.value), args=[])
                    with item:
                        text(words)
        if cell["pinned"]:
            text(f"to r{cell['pinned']}", "sl-small sl-muted")

    def _drift(self, cell: Json) -> None:
        drift = cell["drift"]
        words, tone, sign = DRIFT_WORDS[DriftLevel(drift["level"]) if drift else DriftLevel.UNKNOWN]
        item = ui.element("button").classes("sl-bare").props('type="button"')
        item.on("click", self._on_drift, args=[])
        with item:
            chip(words if drift else "…", tone, sign=sign)
        moved = [
            shift["name"]
            for shift in (drift["shifts"] if drift else ())
            if shift["level"] in {DriftLevel.WATCH, DriftLevel.ALARM}
        ]
        if moved:
            text(", ".join(moved), "sl-small sl-muted")


def _title(cell: Json) -> None:
    text(cell["title"]).style("font-weight: 500")
    text(cell["place"], "sl-small sl-faint")


def _state(cell: Json) -> None:
    words, tone, sign = CONNECTION_WORDS.get(cell["connection"], (cell["connection"], "", ""))
    with ui.element("div").classes("sl-row sl-row--tight"):
        chip(words, tone, sign=sign)
        if cell["station"] and cell["connection"] == "online":
            text(cell["station"], "sl-muted sl-small")
    if cell["alarms"]:
        alarm = ui.element("div").classes("sl-fleet__alarm")
        alarm.props["title"] = " ".join(cell["alarms"])
        with alarm:
            ui.element("i").classes("sl-sign sl-sign--alarm")
            text(cell["alarms"][0], "sl-small")
    if cell["heard"]:
        text(f"heard {cell['heard']}", "sl-small sl-faint")


def _runs(cell: Json) -> None:
    text(cell["runs"])
    text(f"recipe {cell['recipe']}", "sl-small sl-faint")


def _wanted(cell: Json) -> None:
    text(cell["wanted"])
    if cell["is_behind"] or cell["phase"]:
        text(cell["phase"] or "not there yet", "sl-small sl-muted")


def _waiting(cell: Json) -> None:
    with ui.element("div").classes("sl-row sl-row--tight sl-num"):
        if cell["records"] > OUTBOX_LATE:
            ui.element("i").classes("sl-sign sl-sign--alarm sl-verdict-text--not_decidable")
        text(f"{wording.count_text(cell['records'])} records")
    more = f"{wording.count_text(cell['images'])} pictures"
    if cell["dropped"]:
        more += f", {wording.count_text(cell['dropped'])} dropped"
    text(more, "sl-small sl-faint sl-num")


def _agent(cell: Json) -> None:
    text(cell["version"], "sl-num")
    if cell["overruns"]:
        text(f"{cell['overruns']} overruns", "sl-small sl-muted")


def rollout_block(
    rollout: Json, rules: str, actions: Iterable[tuple[str, Callable[[], None]]]
) -> None:
    """The newest rollout as a row of waves."""
    with panel(f"Rollout of release {rollout['release']}"):
        with ui.element("div").classes("sl-row sl-wrap"):
            tone, sign = {
                "running": ("accent", "none"),
                "succeeded": ("ok", "ok"),
                "stopped": ("bad", "not_ok"),
            }.get(rollout["state"], ("", ""))
            chip(rollout["state"], tone, sign=sign)
            text(f"by {rollout['by']}", "sl-muted")
            if rollout["is_open"] and rollout["wave_since"]:
                text(f"this wave runs since {rollout['wave_since']}", "sl-muted")
            if rollout["error"]:
                text(wording.sentence(rollout["error"]))
            with ui.element("div").classes("sl-row sl-push"):
                for words, deed in actions:
                    button(words, deed, kind="danger", small=True)
        with ui.element("ol").classes("sl-waves"):
            for wave in rollout["waves"]:
                state = "is-now" if wave["is_now"] else "is-done" if wave["is_done"] else ""
                with ui.element("li").classes(state):
                    text(wave["name"], "sl-h2")
                    for cell in wave["cells"]:
                        _wave_cell(cell)
        trial = (
            f"Each cell runs it beside the old one for {rollout['shadow_parts']} parts and on "
            f"trial for {rollout['canary_parts']}."
        )
        text(f"{rules} {trial}", "sl-small sl-muted")
        if rollout["skipped"]:
            text(f"Left out: {', '.join(rollout['skipped'])}.", "sl-small sl-muted")


def _wave_cell(cell: Json) -> None:
    with ui.element("div").classes("sl-row sl-row--tight"):
        sign = WAVE_SIGNS.get(cell["phase"], "")
        if sign:
            tone = {"ok": "ok", "not_ok": "not_ok"}.get(sign, "")
            ui.element("i").classes(f"sl-sign sl-sign--{sign} sl-verdict-text--{tone}")
        text(cell["title"])
        text(cell["words"], "sl-muted sl-small")
    if cell["error"]:
        text(cell["error"], "sl-small sl-muted")


def events_block(events: list[Json]) -> None:
    """What stations last told of themselves."""
    table = "sl-table sl-table--tight"
    with (
        panel("Latest at the stations"),
        ui.element("table").classes(table),
        ui.element("tbody"),
    ):
        for event in events:
            with ui.element("tr"):
                for key, classes in _EVENT_COLUMNS:
                    with ui.element("td").classes(classes):
                        text(event[key])


_EVENT_COLUMNS = (
    ("at", "sl-num sl-muted sl-nowrap"),
    ("title", "sl-nowrap"),
    ("code", "sl-nowrap"),
    ("text", "sl-muted"),
)

"""How far a cell has drifted, property by property."""

from nicegui import ui

from cloud.dashboard.fleet_view import DRIFT_WORDS, Json
from cloud.dashboard.pieces import button, chip, small_dialog, text
from cloud.drift import ALARM_PSI, WATCH_PSI, DriftLevel

TITLES = {
    "score": "Score of what was found",
    "class": "What was found",
    "brightness": "Brightness of the picture",
    "sharpness": "Sharpness of the picture",
}


def open_drift(cell: Json, drift: Json | None) -> None:
    """Show it over the page."""
    with small_dialog("sl-drift") as dialog:
        with ui.element("div").classes("sl-row"):
            text(f"Drift at {cell['title']}", "sl-h2")
            if drift and drift["since"]:
                text(f"since its model came, {drift['since']}", "sl-muted")
        if not drift or not drift["shifts"]:
            text("This cell has not judged enough parts with its model yet.", "sl-muted")
        else:
            with ui.element("div").classes("sl-drift__grid"):
                for shift in drift["shifts"]:
                    _shift(shift)
            text(
                f"PSI compares the first parts of this model with the latest. Under {WATCH_PSI:g} "
                f"nothing has changed, from {ALARM_PSI:g} on something has: look at lamp, lens and "
                "parts. What chance alone explains does not count.",
                "sl-small sl-muted",
            )
        with ui.element("div").classes("sl-row"):
            button("Close", dialog.close).classes("sl-push")


def _shift(shift: Json) -> None:
    words, tone, sign = DRIFT_WORDS[DriftLevel(shift["level"])]
    with ui.element("section"):
        with ui.element("div").classes("sl-row sl-row--tight"):
            text(TITLES.get(str(shift["name"])) or str(shift["name"])).style("font-weight: 500")
            chip(words, tone, sign=sign).classes("sl-push")
        text(
            f"PSI {shift['psi']} (chance {shift['by_chance']}), "
            f"{shift['num_reference']} then, {shift['num_current']} now",
            "sl-small sl-muted sl-num",
        )
        with ui.element("div").classes("sl-histogram").props('role="img"'):
            for bar in shift["bins"]:
                column = ui.element("span")
                column.props["title"] = bar["words"]
                with column:
                    ui.element("i").style(f"height: {bar['before']}%")
                    ui.element("b").style(f"height: {bar['now']}%")
        if shift["bins"]:
            with ui.element("div").classes("sl-row sl-small sl-faint"):
                text(shift["bins"][0]["label"])
                text(shift["bins"][-1]["label"], "sl-push")
        with ui.element("div").classes("sl-histogram__key sl-small sl-muted"):
            ui.element("i")
            text("then")
            ui.element("b")
            text("now")

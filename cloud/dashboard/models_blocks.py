"""Blocks of the Models page; the Training page shows some of them too."""

from nicegui import ui

from cloud.dashboard import wording
from cloud.dashboard.models_view import PHASES, Json, per_class_chart
from cloud.dashboard.pieces import button, chip, empty, panel, text


def nothing() -> None:
    """What stands where there is no release yet."""
    with ui.element("section").classes("sl-panel"):
        empty(
            "No release yet",
            "Register a bundle to begin with: the baseline that comes with Sightline, or one of "
            "your own.",
            code="sightline-cloud release models/released/plate",
        )


def card_dialog(release: int, title: str) -> None:
    """The model's card; its page may run nothing and reach nobody."""
    with ui.dialog() as dialog, ui.element("div").classes("sl-panel sl-dialog sl-card-dialog"):
        with ui.element("div").classes("sl-row"):
            text(f"Model card of {title}", "sl-h2")
            ui.link("Open alone", f"/v1/releases/{release}/card", new_tab=True).classes("sl-push")
            button("Close", dialog.close, small=True)
        frame = ui.element("iframe").classes("sl-card-dialog__page")
        frame.props(f'src="/v1/releases/{release}/card" sandbox="" title="Model card"')
    dialog.on("hide", dialog.delete)
    dialog.open()


def headline(before: Json | None, after: Json | None) -> None:
    """Mean average precision before and after, in large figures."""
    if after is None:
        return
    with ui.element("div").classes("sl-headline"):
        if before is not None:
            with ui.element("div"):
                text(wording.score_text(before["map50"]), "sl-headline__before sl-num")
                text("before", "sl-label")
            text("→", "sl-headline__arrow")
        with ui.element("div"):
            text(wording.score_text(after["map50"]), "sl-headline__after sl-num")
            text(f"mAP@0.5, {after['num_images']} locked pictures", "sl-label")
        if before is not None:
            change = after["map50"] - before["map50"]
            chip(f"{change:+.3f}", "ok" if change >= 0 else "bad")


def judged(release: Json) -> None:
    """Figures and gates of a release side by side."""
    if release["after"] is None:
        return
    with ui.element("div").classes("sl-pair"):
        figures(release["before"], release["after"])
        with panel("Gates"):
            if not release["gates"]:
                text("This release came in by hand; no gate has judged it.", "sl-muted")
            for gate in release["gates"]:
                gate_row(gate)


def figures(before: Json | None, after: Json) -> None:
    """Average precision of each category as bars."""
    height = 40 + len(after["per_class"]) * (38 if before else 26)
    with panel("Average precision of each category, on the locked set"):
        chart = ui.echart(per_class_chart(before, after))
        chart.style(f"height: {height}px; width: 100%")


def gate_row(gate: Json) -> None:
    """What one gate said, with its sign."""
    sign, word = ("ok", "passed") if gate["passed"] else ("not_ok", "refused")
    with ui.element("div").classes("sl-gate"):
        ui.element("i").classes(f"sl-sign sl-sign--{sign} sl-verdict-text--{sign}")
        with ui.element("div"):
            text(f"{_gate_title(gate['name'])}: {word}").style("font-weight: 500")
            text(gate["text"], "sl-muted sl-small")


def rollout_block(rollout: Json) -> None:
    """A rollout and each of its cells."""
    with panel("Rollout", "sl-rollout"):
        with ui.element("div").classes("sl-row sl-rollout__state"):
            _rollout_chip(rollout["state"])
            waves = rollout["num_waves"]
            if rollout["state"] == "running":
                text(
                    f"wave {rollout['wave'] + 1} of {waves}; a canary judges "
                    f"{rollout['canary_parts']} parts before it counts",
                    "sl-muted",
                )
            if rollout["error"]:
                text(wording.sentence(rollout["error"]))
        with ui.element("table").classes("sl-table sl-table--tight"), ui.element("tbody"):
            for cell in rollout["cells"]:
                with ui.element("tr"):
                    _rollout_row(cell)


def _gate_title(name: str) -> str:
    return name.upper() if name == "int8" else wording.sentence(name)


def lineage_block(steps: list[Json]) -> None:
    """From the pictures to the release."""
    with panel("Lineage"), ui.element("ol").classes("sl-lineage"):
        for step in steps:
            with ui.element("li"):
                text(step["name"], "sl-label")
                if step.get("href"):
                    ui.link(step["id"], step["href"]).classes("sl-code")
                else:
                    text(step["id"], "sl-code")
                for fact in step["facts"]:
                    text(fact, "sl-muted sl-small")


def fleet_block(cells: list[Json]) -> None:
    """What each cell runs and should run."""
    if not cells:
        return
    with panel("Cells"), ui.element("table").classes("sl-table sl-table--tight"):
        with ui.element("thead"), ui.element("tr"):
            for head in ("Cell", "Runs", "Should run", "Mode", "Update"):
                with ui.element("th"):
                    text(head)
        with ui.element("tbody"):
            for cell in cells:
                wanted = f"r{cell['wanted']}" if cell["wanted"] else wording.UNKNOWN
                values = (cell["title"], cell["runs"] or wording.UNKNOWN, wanted, cell["mode"])
                with ui.element("tr"):
                    for value in (*values, wording.plain(cell["phase"]) or wording.UNKNOWN):
                        with ui.element("td"):
                            text(value)


def _rollout_chip(state: str) -> None:
    tone, sign = {
        "running": ("accent", "none"),
        "paused": ("unsure", "not_decidable"),
        "succeeded": ("ok", "ok"),
        "stopped": ("bad", "not_ok"),
    }.get(state, ("", ""))
    chip(wording.plain(state), tone, sign=sign)


def _rollout_row(cell: Json) -> None:
    with ui.element("td").style("width: 180px"):
        text(cell["title"])
    with ui.element("td").style("width: 90px").classes("sl-muted"):
        text(cell["wave"])
    phase = "active" if cell["phase"] == "active" else cell["reported"] or cell["phase"]
    failed = cell["phase"] == "failed"
    with ui.element("td"), ui.element("div").classes("sl-row"):
        _steps(phase, failed=failed)
        words = wording.plain(phase) if not failed else "failed"
        text(words, "sl-verdict-text--not_ok" if failed else "")
        if cell["error"]:
            text(cell["error"], "sl-muted sl-small")


def _steps(phase: str, *, failed: bool) -> None:
    """How far a cell is on its way, as a row of steps; the word beside it says the same."""
    names = [step.value for step in PHASES]
    reached = names.index(phase) if phase in names else -1
    with ui.element("span").classes("sl-steps" + (" sl-steps--failed" if failed else "")):
        for number, name in enumerate(names):
            done = number < reached or (number == reached and name == "active")
            state = "is-done" if done else "is-now" if number == reached else ""
            ui.element("i").classes(state).props(f'title="{name}"')


def map50_text(figures: Json | None) -> str:
    """MAP in words."""
    return wording.score_text(figures["map50"] if figures else None)


def cells_text(number: int) -> str:
    """A number of cells in words."""
    return f"{number} cell" + ("" if number == 1 else "s")

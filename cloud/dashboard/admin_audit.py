"""Who did what to what."""

import json
from asyncio import to_thread
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from cloud.api.context import Context
from cloud.audit import list_entries
from cloud.dashboard.desk import Desk
from cloud.dashboard.pieces import button, empty, panel, table, text
from cloud.db.tables import AuditEntry
from cloud.shifts import PERIODS

PAGE_ROWS = 50
MAX_DETAILS = 160


class AuditTab:
    """The audit log, newest first."""

    def __init__(self, context: Context, desk: Desk) -> None:
        del desk  # nobody changes the log
        self._database = context.database
        self._clock = context.clock
        self._wanted = {"actor": "", "action": "", "subject": "", "period": ""}
        self._before: int | None = None
        with ui.element("section").classes("sl-panel sl-filters"):
            for key, label in (("actor", "Who"), ("action", "Did what"), ("subject", "To what")):
                field = ui.input(label, on_change=self._on_change(key))
                field.props("outlined dense clearable debounce=300 stack-label").classes("sl-field")
            choices = {"": "Any time"} | {k: v for k, v in PERIODS.items() if k != "range"}
            time = ui.select(choices, value="", label="Time", on_change=self._on_change("period"))
            time.props("outlined dense options-dense").classes("sl-field")
            with ui.element("div").classes("sl-row sl-push"):
                self._links = [_link("Export CSV"), _link("Export JSON lines")]
        self._body = ui.element("div")
        self._link_exports()
        ui.timer(0.01, self.load, once=True)

    def _on_change(self, key: str) -> Callable[[Any], Any]:
        async def change(event: Any) -> None:  # noqa: ANN401 - NiceGUI's event
            self._wanted[key] = (event.value or "").strip()
            self._before = None
            self._link_exports()
            await self.load()

        return change

    def _link_exports(self) -> None:
        since, until = self._clock.stretch(self._wanted["period"])
        times = {
            "since": since.isoformat() if since else "",
            "until": until.isoformat() if until else "",
        }
        for link, form in zip(self._links, ("csv", "jsonl"), strict=True):
            query = {key: value for key, value in times.items() if value} | {"format": form}
            link.props["href"] = f"/v1/audit/export?{urlencode(query)}"
            link.update()

    async def load(self) -> None:
        """Read and show a page."""
        since, until = self._clock.stretch(self._wanted["period"])
        rows = await to_thread(
            list_entries,
            self._database,
            limit=PAGE_ROWS + 1,
            before=self._before,
            actor=self._wanted["actor"] or None,
            action=self._wanted["action"] or None,
            subject=self._wanted["subject"] or None,
            since=since,
            until=until,
        )
        self._body.clear()
        with self._body, panel("Audit log, newest first", "sl-scroll"):
            if not rows:
                empty("Nothing was done", "No entry matches; whole words only.")
                return
            with table(("Time", "Who", "Did what", "To what", "Details")):
                for row in rows[:PAGE_ROWS]:
                    with ui.element("tr"):
                        _row(row)
            with ui.element("div").classes("sl-row"):
                text("The database refuses to change or delete an entry.", "sl-small sl-muted")
                if self._before is not None:
                    button("Newest", self._newest, small=True).classes("sl-push")
                if len(rows) > PAGE_ROWS:
                    last = rows[PAGE_ROWS - 1].id
                    older = button("Older", lambda: self._older(last), small=True)
                    if self._before is None:
                        older.classes("sl-push")

    async def _older(self, before: int) -> None:
        self._before = before
        await self.load()

    async def _newest(self) -> None:
        self._before = None
        await self.load()


def _row(row: AuditEntry) -> None:
    details = json.dumps(row.details, sort_keys=True) if row.details else ""
    for words, classes in (
        (f"{row.at.astimezone():%d %b %Y %H:%M:%S}", "sl-num sl-muted sl-nowrap"),
        (row.actor, "sl-strong sl-nowrap"),
        (row.action, "sl-nowrap"),
        (row.subject, "sl-break"),
    ):
        with ui.element("td").classes(classes):
            text(words)
    cell = ui.element("td").classes("sl-code sl-small sl-muted sl-break")
    cell.props["title"] = details
    with cell:
        text(details if len(details) <= MAX_DETAILS else f"{details[:MAX_DETAILS]}…")


def _link(words: str) -> ui.element:
    link = ui.element("a").classes("sl-button sl-button--small")
    with link:
        ui.label(words)
    return link

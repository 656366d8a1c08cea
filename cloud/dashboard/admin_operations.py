"""Room and backups."""

from asyncio import to_thread
from functools import partial

from nicegui import ui

from cloud.api.context import Context
from cloud.api.retention import DueOut, apply_now, due_next
from cloud.backups import BackupState
from cloud.dashboard import wording
from cloud.dashboard.blocks import Blocks
from cloud.dashboard.desk import Desk
from cloud.dashboard.pieces import button, chip, confirm, empty, facts, panel, skeleton, table, text
from cloud.errors import CloudError
from cloud.retention import MAX_COUNTED
from cloud.settings import RetentionSettings
from cloud.storage_use import StorageUse, read_storage_use

LOOK_S = 1.0
KINDS = {
    "results_days": "Results and what was found downstream",
    "pending_days": "Pictures that nobody labelled",
    "audit_days": "… of these, random audits",
    "rejected_days": "Pictures of no use",
    "labelled_days": "Labelled pictures",
    "station_events_days": "Events of the stations",
    "dead_letters_days": "Dead letters",
}
STATUS_WORDS = {
    "pending": "wait for review",
    "labelled": "labelled",
    "rejected": "of no use",
    "second_look": "wait for a second look",
    "disputed": "disputed",
}


class StorageTab:
    """What takes up room."""

    def __init__(self, context: Context, desk: Desk) -> None:
        self._desk = desk
        self._context = context
        self._body = ui.element("div").classes("sl-col")
        with self._body:
            skeleton(240)
        ui.timer(0.01, self.load, once=True)

    async def load(self) -> None:
        """Read and show it."""
        try:
            use = await to_thread(read_storage_use, self._context.database, self._context.images)
            due = await to_thread(due_next, self._context)
        except CloudError as error:
            ui.notify(wording.sentence(str(error)), type="negative")
            return
        self._body.clear()
        with self._body:
            self._show(use, due)

    def _show(self, use: StorageUse, due: DueOut) -> None:
        count = sum(row.count for row in use.pictures)
        total = sum(row.num_bytes for row in use.pictures)
        free = "remote" if use.free_bytes is None else wording.bytes_text(use.free_bytes)
        with ui.element("section").classes("sl-panel sl-tiles"):
            for value, name in (
                (wording.bytes_text(total), f"in {wording.count_text(count)} pictures"),
                (wording.bytes_text(use.database_bytes), "database"),
                (free, "free on the pictures' disk"),
                (wording.count_text(use.dead_letters), "dead letters"),
            ):
                with ui.element("div").classes("sl-tile"):
                    with ui.element("div").classes("sl-tile__value"):
                        text(value)
                    text(name, "sl-tile__name")
        with ui.element("div").classes("sl-pair sl-pair--even"):
            with ui.element("div").classes("sl-col"):
                with panel("Pictures by review"):
                    if not use.pictures:
                        empty("No picture yet", "Cells send doubtful, rejected and audited parts.")
                    else:
                        _pictures(use, total)
                with panel("Where things are"):
                    self._places()
            with panel("How long things are kept"):
                _kept(self._context.settings.retention, due)
                if self._context.settings.retention.is_limited:
                    with ui.element("div").classes("sl-row"):
                        button("Apply now", self._ask, kind="danger", small=True).classes("sl-push")

    def _ask(self) -> None:
        async def apply() -> None:
            actor = self._desk.identity.name
            deed = partial(apply_now, self._context, actor=actor)
            await self._desk.do(deed, "Retention is applied")
            await self.load()

        words = "What is older than this list says is dropped for good; a backup still has it."
        confirm("Apply retention now?", words, "Apply", apply, kind="danger")

    def _places(self) -> None:
        storage = self._context.settings.storage
        facts(
            [
                ("Pictures", storage.url),
                ("Snapshots", storage.snapshots_url),
                ("Database", self._context.database.url.render_as_string()),
                ("No more pictures under", f"{wording.bytes_text(storage.min_free_bytes)} free"),
            ]
        )


def _kept(limits: RetentionSettings, due: DueOut) -> None:
    """How long each kind is kept, and what goes next."""
    with table(("What", "Is kept", "Goes next"), right=("Is kept", "Goes next")):
        for name, words in KINDS.items():
            days = getattr(limits, name)
            with ui.element("tr"):
                with ui.element("td"):
                    text(words)
                for figure in (f"{days} days" if days else "for ever", _going(due.kinds.get(name))):
                    with ui.element("td").classes("sl-right sl-num"):
                        text(figure)
    text(
        f"Next applied {due.at.astimezone():%d %b %H:%M}, every day at {limits.hour:02d}:00 UTC; "
        "set in [retention] of the server's file. Figures stay, the audit log always.",
        "sl-small sl-muted",
    )


def _going(count: int | None) -> str:
    if not count:
        return wording.UNKNOWN if count is None else "none"
    more = " or more" if count >= MAX_COUNTED else ""
    return f"{wording.count_text(count)}{more}"


def _pictures(use: StorageUse, total: int) -> None:
    with table(("", "", "Pictures", "Size"), right=("Pictures", "Size")):
        for row in use.pictures:
            with ui.element("tr"):
                with ui.element("td").classes("sl-nowrap"):
                    text(wording.sentence(STATUS_WORDS.get(row.status.value, row.status.value)))
                with ui.element("td").classes("sl-pareto__bar"):
                    share = 100 * row.num_bytes / total if total else 0
                    ui.element("i").style(f"width: {share:.1f}%")
                for words in (wording.count_text(row.count), wording.bytes_text(row.num_bytes)):
                    with ui.element("td").classes("sl-right sl-num"):
                        text(words)


_COLUMNS = ("Backup", "Made", "Rows", "Files", "Size")


class BackupsTab:
    """Backups, and the button that makes one."""

    def __init__(self, context: Context, desk: Desk) -> None:
        self._backups = context.backups
        self._desk = desk
        self._blocks = Blocks()
        with self._blocks.place("all"):
            skeleton(200)
        ui.timer(LOOK_S, self.look)

    async def look(self) -> None:
        """Show what there is now."""
        state = await to_thread(self._backups.state)
        self._blocks.show("all", state, lambda: self._show(state))

    def _show(self, state: BackupState) -> None:
        with panel("Backups", "sl-scroll"):
            with ui.element("div").classes("sl-row sl-wrap sl-gap-below"):
                text("Database, pictures, models and keys, each file with its hash.", "sl-muted")
                make = button(
                    "Back up now", self._make, kind="primary", enabled=state.running is None
                )
                make.classes("sl-push")
            if state.running is not None:
                with ui.element("div").classes("sl-row sl-gap-below"):
                    chip("running", "accent", sign="none")
                    text(f"{state.running}: {state.stage}")
            if state.error:
                with ui.element("div").classes("sl-alarm").style("margin: 0 0 10px"):
                    ui.element("i").classes("sl-sign sl-sign--alarm")
                    text(f"The last backup failed. {wording.sentence(state.error)}")
            if not state.items:
                empty("No backup yet", f"They go to {state.folder}; put that on another disk.")
                return
            with table(_COLUMNS, right=_COLUMNS[2:]):
                for item in state.items:
                    with ui.element("tr"):
                        for words, classes in (
                            (item.name, "sl-code"),
                            (f"{item.created_at.astimezone():%d %b %Y %H:%M}", "sl-nowrap"),
                            (wording.count_text(item.num_rows), "sl-right sl-num"),
                            (wording.count_text(item.num_files), "sl-right sl-num"),
                            (wording.bytes_text(item.num_bytes), "sl-right sl-num"),
                        ):
                            with ui.element("td").classes(classes):
                                text(words)
            newest = f"{state.folder}/{state.items[0].name}"
            text("Put one back into an empty place, on the server's console:", "sl-small sl-muted")
            text(f"sightline-cloud restore {newest} --config cloud.toml", "sl-code sl-small")

    async def _make(self) -> None:
        actor = self._desk.identity.name
        await self._desk.do(lambda: self._backups.start(actor=actor), "The backup begins")

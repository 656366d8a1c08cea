"""`/dead-letters`: messages that could never be taken, and why."""

from asyncio import to_thread

from fastapi import Request
from nicegui import ui

from cloud.api.context import Context
from cloud.auth import Identity
from cloud.dashboard import wording
from cloud.dashboard.desk import Desk
from cloud.dashboard.frame import Frame, guarded
from cloud.dashboard.pieces import button, confirm, empty, panel, text
from cloud.dashboard.result_queries import cells
from cloud.db.tables import DeadLetter, Role

PAGE_ROWS = 30
SHOWN_BYTES = 600


def install(frame: Frame) -> None:
    """Register the page."""

    async def build(request: Request, identity: Identity) -> None:
        known = await to_thread(cells, frame.context.database)
        with frame.page(request, identity, title="Dead letters", current="/fleet"):
            page = DeadLettersPage(frame.context, Desk(identity), known)
        ui.timer(0.01, page.load, once=True)

    ui.page("/dead-letters")(guarded(frame, build, role=Role.ML))


class DeadLettersPage:
    """The page in one browser."""

    def __init__(self, context: Context, desk: Desk, known: list[str]) -> None:
        self._letters = context.dead_letters
        self._desk = desk
        self._cell = ""
        self._before: int | None = None

        async def choose(event: object) -> None:
            self._cell = getattr(event, "value", "") or ""
            self._before = None
            await self.load()

        with ui.element("section").classes("sl-panel sl-filters"):
            options = {"": "All cells"} | {cell: wording.cell_title(cell) for cell in known}
            choice = ui.select(options, value="", label="Cell", on_change=choose)
            choice.props("outlined dense options-dense").classes("sl-field")
            text(
                "What a cell sent and nobody could read. It was acknowledged, so that the cell "
                "does not send it for ever.",
                "sl-muted",
            )
        self._body = ui.element("div")

    async def load(self) -> None:
        """Read and show a page."""
        rows = await to_thread(
            self._letters.recent,
            limit=PAGE_ROWS + 1,
            before=self._before,
            cell=self._cell or None,
        )
        self._body.clear()
        with self._body, panel("Dead letters, newest first"):
            if not rows:
                empty("None", "Every message that came could be taken.")
                return
            with ui.element("ul").classes("sl-letters"):
                for row in rows[:PAGE_ROWS]:
                    with ui.element("li"):
                        self._letter(row)
            with ui.element("div").classes("sl-row"):
                if self._before is not None:
                    button("Newest", self._newest, small=True)
                if len(rows) > PAGE_ROWS:
                    last = rows[PAGE_ROWS - 1].id
                    button("Older", lambda: self._older(last), small=True)

    def _letter(self, letter: DeadLetter) -> None:
        with ui.element("div").classes("sl-row sl-wrap"):
            ui.element("i").classes("sl-sign sl-sign--alarm sl-verdict-text--not_decidable")
            text(wording.sentence(letter.reason), "sl-strong sl-grow")
            if self._desk.identity.may(Role.ADMIN):
                button("Try again", lambda: self._retry(letter.id), small=True)
                button("Throw away", lambda: self._ask(letter.id), kind="danger", small=True)
        with ui.element("div").classes("sl-row sl-wrap sl-small sl-muted"):
            text(f"{letter.received_at.astimezone():%d %b %Y %H:%M:%S}", "sl-num")
            text(letter.topic, "sl-code")
            text(f"{wording.count_text(letter.num_bytes)} bytes")
            ui.link("Download", f"/v1/dead-letters/{letter.id}/payload")
        with ui.element("pre").classes("sl-log sl-log--short"):
            text(letter.payload[:SHOWN_BYTES].decode(errors="replace"))

    async def _retry(self, letter_id: int) -> None:
        actor = self._desk.identity.name
        await self._desk.do(
            lambda: self._letters.retry(letter_id, actor=actor), "It was taken after all"
        )
        await self.load()

    def _ask(self, letter_id: int) -> None:
        async def dismiss() -> None:
            actor = self._desk.identity.name
            await self._desk.do(
                lambda: self._letters.dismiss(letter_id, actor=actor), "It is thrown away"
            )
            await self.load()

        words = "What it said is lost; that it came stays in the audit log."
        confirm("Throw this message away?", words, "Throw away", dismiss, kind="danger")

    async def _older(self, before: int) -> None:
        self._before = before
        await self.load()

    async def _newest(self) -> None:
        self._before = None
        await self.load()

"""`/models/compare`: the candidate and the running model on every locked picture."""

from asyncio import to_thread

from fastapi import Request
from nicegui import ui

from cloud.auth import Identity
from cloud.comparison import Change
from cloud.comparisons import RunComparison
from cloud.dashboard import wording
from cloud.dashboard.compare_view import CHANGE_WORDS, Json, compared_view
from cloud.dashboard.frame import Frame, guarded
from cloud.dashboard.picture_sheet import PictureSheet
from cloud.dashboard.pieces import empty, text
from cloud.errors import CloudError
from cloud.learning import LearningServices
from models.contract.picture_results import CANDIDATE, RUNNING

SHEET_SIZE = 12


def install(frame: Frame) -> None:
    """Register the page."""
    learning = frame.context.learning

    async def build(request: Request, identity: Identity) -> None:
        run_id = request.query_params.get("run", "")
        wanted = request.query_params.get("change", "")
        try:
            found: RunComparison | str = await to_thread(learning.comparisons.of_run, run_id)
        except CloudError as error:
            found = wording.sentence(str(error))
        with frame.page(request, identity, title="Compare models", current="/models"):
            if isinstance(found, str):
                _without(found)
                return
            page = ComparePage(learning, found, wanted)
        await page.fill()

    ui.page("/models/compare")(guarded(frame, build))


def _without(cause: str) -> None:
    with ui.element("section").classes("sl-panel"):
        empty(
            "Nothing to compare",
            f"{cause}. A run leaves its pictures when it was measured on the locked set.",
        )


class ComparePage:
    """The page in one browser."""

    def __init__(self, learning: LearningServices, found: RunComparison, wanted: str) -> None:
        self._learning = learning
        self._found = found
        self._category = ""
        self._limit = SHEET_SIZE
        counts = found.counts()
        first = next((change for change in Change if counts[change]), Change.SAME)
        self._change: Change | None = Change(wanted) if wanted in list(Change) else first
        self._head()
        with ui.element("section").classes("sl-panel"):
            self._filters = ui.element("div").classes("sl-filters")
            with ui.element("div").classes("sl-panel__body").style("padding-top: 0"):
                self._sheet = PictureSheet(on_more=self._more)
        self._draw_filters()

    async def fill(self) -> None:
        """Show what the filters ask for."""
        pictures, total = await to_thread(self._read)
        self._sheet.show(pictures, total=total)

    def _read(self) -> tuple[list[Json], int]:
        category = self._category or None
        chosen = self._found.select(change=self._change, category=category)
        snapshot_id = self._found.head.snapshot_id
        index = self._learning.pictures.index(self._learning.datasets.get(snapshot_id).url)
        return [
            compared_view(snapshot_id, index[picture.image_id], picture, category)
            for picture in chosen[: self._limit]
            if picture.image_id in index
        ], len(chosen)

    def _head(self) -> None:
        head = self._found.head
        names = {
            role: f"{model.name or 'model'} {model.bundle_id[:8]}"
            for role, model in head.models.items()
        }
        with ui.element("div").classes("sl-page__head"):
            with ui.element("h1"):
                text("Two models, picture by picture")
            running = names.get(RUNNING, "no running model")
            text(
                f"{names.get(CANDIDATE, '')} beside {running}, on "
                f"{wording.count_text(len(self._found.pictures))} {head.split} pictures"
            ).classes("sl-muted")
            with ui.element("span").classes("sl-push sl-key"):
                for tone, words in (("hit", "found"), ("miss", "missed"), ("extra", "false")):
                    ui.html(
                        f'<svg width="26" height="14"><rect class="is-{tone}" x="2" y="2" '
                        'width="22" height="10"/></svg>',
                        sanitize=False,
                    )
                    text(words)

    def _draw_filters(self) -> None:
        counts = self._found.counts(self._category or None)
        self._filters.clear()
        with self._filters:
            with ui.element("div").classes("sl-segments").props('role="group"'):
                for change in Change:
                    item = ui.element("button").props(
                        f'type="button" aria-pressed="{str(change is self._change).lower()}"'
                    )
                    item.classes(
                        f"sl-segment sl-segment--{change}"
                        + (" is-current" if change is self._change else "")
                    )
                    item.on("click", lambda _, chosen=change: self._choose(chosen))
                    with item:
                        text(CHANGE_WORDS[change])
                        text(str(counts[change]), "sl-num")
            names = {"": "Every category"} | {
                name: wording.plain(name) for name in self._found.categories()
            }
            select = ui.select(names, value=self._category).props("outlined dense")
            select.classes("sl-field").on_value_change(lambda event: self._narrow(event.value))

    async def _choose(self, change: Change) -> None:
        self._change, self._limit = change, SHEET_SIZE
        self._draw_filters()
        await self.fill()

    async def _narrow(self, category: str) -> None:
        self._category, self._limit = category, SHEET_SIZE
        self._draw_filters()
        await self.fill()

    async def _more(self) -> None:
        self._limit += SHEET_SIZE
        await self.fill()

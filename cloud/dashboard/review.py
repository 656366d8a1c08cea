"""`/review`: look at hard pictures, fix the boxes, next. The keyboard is enough."""

from asyncio import Lock, to_thread
from typing import Any

from fastapi import Request
from nicegui import ui
from pydantic import ValidationError

from cloud.auth import Identity
from cloud.dashboard import wording
from cloud.dashboard.feed import Feed
from cloud.dashboard.frame import Frame, guarded
from cloud.dashboard.review_board import ReviewBoard
from cloud.dashboard.review_view import (
    category_view,
    labelled,
    offer_view,
    queue_for,
    queue_view,
    review_item,
)
from cloud.db.tables import ReviewStatus, Role
from cloud.errors import CloudError, NotFoundError
from cloud.labeling import Labeling
from cloud.review_items import ReviewItem
from models.contract.bundle import CategoryKind

PERIOD_S = 1.5
WAITING = {ReviewStatus.DISPUTED: 20, ReviewStatus.SECOND_LOOK: 40, ReviewStatus.PENDING: 80}
"""What waits for somebody, in the order of the queue, and how much of each is shown."""

Json = dict[str, Any]


def install(frame: Frame) -> None:
    """Register the page."""
    labeling = frame.context.learning.labeling

    def look() -> Json:
        items = [
            item
            for status, limit in WAITING.items()
            for item in labeling.queue(limit=limit, status=status)
        ]
        counts = labeling.counts()
        return {
            "queue": queue_view(items),
            "categories": [category_view(item) for item in labeling.categories()],
            "pending": sum(counts[status] for status in WAITING),
        }

    feed = Feed(look, period_s=PERIOD_S)

    async def build(request: Request, identity: Identity) -> None:
        wanted = request.query_params.get("picture")
        first = await to_thread(_find, labeling, wanted) if wanted else None
        await feed.refresh()
        with frame.page(
            request, identity, title="Review", current="/review", classes="sl-page--review"
        ):
            page = ReviewPage(labeling, feed, identity, first)
        feed.follow(page.show)

    ui.page("/review")(guarded(frame, build))


def _find(labeling: Labeling, sha256: str) -> Json | None:
    try:
        return review_item(labeling.item(sha256))
    except NotFoundError:
        return None


class ReviewPage:
    """The page in one browser."""

    def __init__(
        self, labeling: Labeling, feed: Feed[Json], identity: Identity, first: Json | None
    ) -> None:
        self._labeling = labeling
        self._feed = feed
        self._identity = identity
        self._first = first
        self._revisions: dict[str, int] = {}
        """Revision that this browser made of a picture, which its board has not heard of yet."""
        self._saving = Lock()
        """What the board tells of is done in that order: undo, then decide again."""
        self._board = ReviewBoard(
            may_label=identity.may(Role.QUALITY),
            on_decide=self._decide,
            on_take_back=self._take_back,
            on_alike=self._label_alike,
            on_add=self._ask_category,
        )

    def show(self, view: Json) -> None:
        """Bring the queue up to date."""
        name, may_arbitrate = self._identity.name, self._identity.may(Role.ML)
        queue = queue_for(view["queue"], reviewer=name, may_arbitrate=may_arbitrate)
        if self._first is not None:
            queue = [self._first] + [
                item for item in queue if item["sha256"] != self._first["sha256"]
            ]
        for item in queue:
            if item["revision"] > self._revisions.get(item["sha256"], 0):
                self._revisions.pop(item["sha256"], None)  # somebody else was here since
        self._board.show(queue, view["categories"], view["pending"])

    async def _decide(self, decided: Json) -> None:
        sha256 = str(decided["sha256"])
        async with self._saving:
            try:
                saved = await to_thread(
                    self._labeling.save,
                    sha256,
                    decision=ReviewStatus(decided["decision"]),
                    boxes=[labelled(box) for box in decided["boxes"]],
                    reviewer=self._identity.name,
                    revision=self._revisions.get(sha256, decided["revision"]),
                    may_arbitrate=self._identity.may(Role.ML),
                )
            except CloudError as error:
                self._board.refuse(sha256, wording.sentence(str(error)))
                return
            self._took(saved)
        if self._first is not None and self._first["sha256"] == sha256:
            self._first = None
        self._feed.expire()
        if saved.num_alike:
            alike = await to_thread(self._labeling.alike, sha256)
            self._board.offer(offer_view(sha256, saved.image.part_id, alike))

    async def _label_alike(self, chosen: Json) -> None:
        """The same label for pictures that look like one that was just labelled."""
        pictures = [str(sha256) for sha256 in chosen["pictures"]]
        async with self._saving:
            try:
                saved, refused = await to_thread(
                    self._labeling.label_alike,
                    str(chosen["sha256"]),
                    pictures,
                    reviewer=self._identity.name,
                )
            except CloudError as error:
                ui.notify(wording.sentence(str(error)), type="negative")
                return
            for item in saved:
                self._took(item)
        if refused:
            cause = next(iter(refused.values()))
            ui.notify(f"{len(refused)} left out: {cause}", type="warning")
        self._feed.expire()

    async def _take_back(self, pictures: list[str]) -> None:
        """Undo what this browser said about these pictures."""
        async with self._saving:
            for sha256 in pictures:
                try:
                    undone = await to_thread(
                        self._labeling.undo, str(sha256), reviewer=self._identity.name
                    )
                except CloudError as error:
                    ui.notify(wording.sentence(str(error)), type="negative")
                else:
                    self._took(undone)
        self._feed.expire()

    def _took(self, item: ReviewItem) -> None:
        self._revisions[item.image.sha256] = item.image.revision

    def _ask_category(self) -> None:
        with (
            ui.dialog() as dialog,
            ui.element("div").classes("sl-panel sl-dialog sl-dialog--small"),
        ):
            ui.label("New category").classes("sl-h2")
            name = ui.input("Name", placeholder="torn_label").props("outlined autofocus")
            kind = ui.radio(
                {"defect": "Defect: finding it rejects", "object": "Object: it belongs there"},
                value="defect",
            )
            ui.label(
                "It joins the label map of the next model. Draw it on at least ten pictures."
            ).classes("sl-muted sl-small")

            async def add() -> None:
                try:
                    await to_thread(
                        self._labeling.add_category,
                        (name.value or "").strip(),
                        CategoryKind(kind.value),
                        actor=self._identity.name,
                    )
                except ValidationError:
                    name.props(
                        'error error-message="Letters, digits, - _ . and spaces, at most 64"'
                    )
                    return
                except CloudError as error:
                    ui.notify(wording.sentence(str(error)), type="negative")
                    return
                self._feed.expire()
                dialog.close()

            name.on("keydown.enter", add)
            with ui.element("div").classes("sl-row"):
                with ui.element("button").classes("sl-button").on("click", dialog.close):
                    ui.label("Cancel")
                button = ui.element("button").classes("sl-button sl-button--primary sl-push")
                with button.on("click", add):
                    ui.label("Add category")
        dialog.on("hide", dialog.delete)
        dialog.open()

"""`/review`: look at hard pictures, fix the boxes, next. The keyboard is enough."""

from asyncio import to_thread
from typing import Any

from fastapi import Request
from nicegui import ui
from pydantic import ValidationError

from cloud.auth import Identity
from cloud.dashboard import wording
from cloud.dashboard.elements import ReviewBoard
from cloud.dashboard.feed import Feed
from cloud.dashboard.frame import Frame, guarded
from cloud.dashboard.links import image_url, part_url, thumbnail_url
from cloud.db.tables import ReviewStatus, Role
from cloud.errors import CloudError, NotFoundError
from cloud.labeling import Labeling
from cloud.review_items import LabelledBox, ReviewItem
from models.contract.bundle import Category, CategoryKind

PERIOD_S = 1.5
MAX_ITEMS = 80

Json = dict[str, Any]


def install(frame: Frame) -> None:
    """Register the page."""
    labeling = frame.context.learning.labeling

    def look() -> Json:
        items = labeling.queue(limit=MAX_ITEMS)
        return {
            "queue": [review_item(item) for item in items],
            "categories": [_category(item) for item in labeling.categories()],
            "pending": labeling.counts()[ReviewStatus.PENDING],
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


def review_item(item: ReviewItem) -> Json:
    """A picture as the board shows it; a label in force counts more than the model's proposal."""
    image, result = item.image, item.result
    if image.revision and image.status is ReviewStatus.LABELLED:
        boxes = [_box(box.category, box.bbox, None) for box in item.annotations]
    else:
        boxes = [_box(box.category, box.bbox, box.score) for box in item.proposals]
    reasons = [wording.reason_short(reason) for reason in result.reasons] if result else []
    return {
        "sha256": image.sha256,
        "url": image_url(image.sha256),
        "thumbnail": thumbnail_url(image.sha256),
        "width": image.width_px,
        "height": image.height_px,
        "part_id": image.part_id,
        "href": part_url(image.part_id),
        "cell": wording.cell_title(image.cell),
        "reasons": [wording.hard_reason_text(reason) for reason in image.hard_reasons],
        "created_ms": wording.milliseconds(image.created_at),
        "verdict": result.verdict.value if result else "",
        "verdict_reasons": ", ".join(dict.fromkeys(reasons)),
        "model": wording.model_text(result.model_name, result.release) if result else "",
        "revision": image.revision,
        "boxes": boxes,
    }


def _box(category: str, bbox: tuple[float, float, float, float], score: float | None) -> Json:
    x, y, width, height = bbox
    return {"category": category, "x": x, "y": y, "w": width, "h": height, "score": score}


def _labelled(box: Json) -> LabelledBox:
    x, y, width, height = (float(side) for side in box["bbox"])
    return LabelledBox(str(box["category"]), (x, y, width, height))


def _category(category: Category) -> Json:
    return {"name": category.name, "kind": category.kind.value}


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
        """Revision of each picture as this browser knows it: a newer one is a conflict."""
        self._board = ReviewBoard(
            may_label=identity.may(Role.QUALITY), on_decide=self._decide, on_add=self._ask_category
        )

    def show(self, view: Json) -> None:
        """Bring the queue up to date."""
        queue = view["queue"]
        if self._first is not None:
            queue = [self._first] + [
                item for item in queue if item["sha256"] != self._first["sha256"]
            ]
        for item in queue:
            self._revisions.setdefault(item["sha256"], item["revision"])
        self._board.show(queue, view["categories"], view["pending"])

    async def _decide(self, decided: Json) -> None:
        sha256 = str(decided["sha256"])
        try:
            saved = await to_thread(
                self._labeling.save,
                sha256,
                decision=ReviewStatus(decided["decision"]),
                boxes=[_labelled(box) for box in decided["boxes"]],
                reviewer=self._identity.name,
                revision=self._revisions.get(sha256),
            )
        except CloudError as error:
            self._board.refuse(sha256, wording.sentence(str(error)))
            return
        self._revisions[sha256] = saved.image.revision
        if self._first is not None and self._first["sha256"] == sha256:
            self._first = None
        self._feed.expire()

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

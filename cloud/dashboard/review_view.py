"""What the Review page shows of the queue: pure functions, plain JSON out."""

from collections.abc import Iterable, Sequence
from typing import Any

from cloud.dashboard import wording
from cloud.dashboard.links import image_url, part_url, thumbnail_url
from cloud.db.tables import ReviewStatus
from cloud.review_items import LabelledBox, ReviewItem
from models.contract.bundle import Category

Json = dict[str, Any]

FIRST, SECOND, ARBITRATE = "first", "second", "arbitrate"
TASKS = {ReviewStatus.SECOND_LOOK: SECOND, ReviewStatus.DISPUTED: ARBITRATE}
"""What a reviewer does with a picture, by its status; else it is a first look."""


def queue_view(items: Iterable[ReviewItem]) -> list[Json]:
    """The queue: of pictures that look alike only the first, which tells of the others."""
    shown: dict[str, Json] = {}
    for item in items:
        is_first_look = item.image.status is ReviewStatus.PENDING
        key = item.group_id if is_first_look else item.image.sha256
        shown.setdefault(key or item.image.sha256, review_item(item))
    return list(shown.values())


def queue_for(queue: Sequence[Json], *, reviewer: str, may_arbitrate: bool) -> list[Json]:
    """What of the queue this person may do: a second look is never one's own."""
    return [
        item
        for item in queue
        if reviewer not in item["seen_by"] and (may_arbitrate or item["task"] != ARBITRATE)
    ]


def review_item(item: ReviewItem) -> Json:
    """A picture as the board shows it.

    A label in force counts more than the model's proposal; a second look begins with the proposal
    all the same, or it would be no look of its own.
    """
    image, result = item.image, item.result
    task = TASKS.get(image.status, FIRST)
    opinions = [
        {
            "reviewer": opinion.reviewer,
            "decision": opinion.decision.value,
            "boxes": [box_view(box) for box in opinion.boxes],
        }
        for opinion in item.opinions
    ]
    if task == ARBITRATE and opinions:
        boxes = opinions[0]["boxes"]
    elif image.status is ReviewStatus.LABELLED:
        boxes = [box_view(box) for box in item.annotations]
    else:
        boxes = [_box(box.category, box.bbox, box.score) for box in item.proposals]
    reasons = [wording.reason_short(reason) for reason in result.reasons] if result else []
    seen_by = [opinion.reviewer for opinion in item.opinions]
    if task == SECOND and image.reviewer:
        seen_by.append(image.reviewer)
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
        "task": task,
        "num_alike": item.num_alike,
        "opinions": opinions,
        "seen_by": seen_by,
    }


def offer_view(sha256: str, part_id: str, alike: Sequence[ReviewItem]) -> Json:
    """Pictures that look like one that was just labelled."""
    return {
        "sha256": sha256,
        "part_id": part_id,
        "pictures": [
            {
                "sha256": item.image.sha256,
                "thumbnail": thumbnail_url(item.image.sha256),
                "part_id": item.image.part_id,
                "width": item.image.width_px,
                "height": item.image.height_px,
            }
            for item in alike
        ],
    }


def labelled(box: Json) -> LabelledBox:
    """A box as the board sends it."""
    x, y, width, height = (float(side) for side in box["bbox"])
    return LabelledBox(str(box["category"]), (x, y, width, height))


def category_view(category: Category) -> Json:
    """A category that may be drawn."""
    return {"name": category.name, "kind": category.kind.value}


def box_view(box: LabelledBox) -> Json:
    """A box that a person stands for."""
    return _box(box.category, box.bbox, None)


def _box(category: str, bbox: tuple[float, float, float, float], score: float | None) -> Json:
    x, y, width, height = bbox
    return {"category": category, "x": x, "y": y, "w": width, "h": height, "score": score}

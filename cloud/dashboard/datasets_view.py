"""What the Datasets page shows: pure functions, plain JSON out."""

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from cloud.comparison import DoubtKind, LabelDoubt
from cloud.dashboard import wording
from cloud.dashboard.links import thumbnail_url
from cloud.db.tables import Snapshot
from cloud.second_review import AgreementFigures, AgreementReport
from cloud.snapshot_pictures import SnapshotFigures, SnapshotPicture
from models.contract.snapshot import Split

Json = dict[str, Any]

CATEGORY_COLOURS = (
    "#4f9ed6", "#e08a4c", "#3fae8c", "#d07bb4", "#b3a52a",
    "#7cb6e6", "#e8766a", "#8f93ea", "#8fbf52", "#c08b62",
)  # fmt: skip
"""Light enough for thin lines over a picture; the word beside a box says the same."""
SPLIT_WORDS = {Split.TRAIN: "training", Split.VAL: "validation", Split.LOCKED: "locked"}
SPLIT_COLOURS = {Split.TRAIN: "#2f7fc4", Split.VAL: "#8fb9de", Split.LOCKED: "#9a6fb8"}
DOUBT_WORDS = {
    DoubtKind.UNLABELLED: "{found} is not labelled",
    DoubtKind.OTHER_CATEGORY: "{label} looks like {found}",
    DoubtKind.NOTHING_THERE: "{label}: nothing is seen there",
}


def snapshot_line(row: Snapshot, newest: str) -> Json:
    """A snapshot in the list."""
    splits = row.manifest.get("splits", {})
    counts = {name: int(split.get("num_images", 0)) for name, split in splits.items()}
    boxes = sum(int(split.get("num_boxes", 0)) for split in splits.values())
    return {
        "snapshot_id": row.snapshot_id,
        "created": f"{row.created_at.astimezone():%d %b %Y %H:%M}",
        "by": row.created_by,
        "num_pictures": sum(counts.values()),
        "num_boxes": boxes,
        "splits": [[SPLIT_WORDS[split], counts.get(split, 0)] for split in Split],
        "is_newest": row.snapshot_id == newest,
        "parent": row.parent or "",
        "refused": [
            f"{count} {reason}" for reason, count in (row.manifest.get("refused") or {}).items()
        ],
        "source": row.manifest.get("source") or "import",
        "url": row.url,
    }


def category_chart(figures: SnapshotFigures) -> Json:
    """ECharts options: boxes of each category by split."""
    rows = sorted(figures.categories, key=lambda row: sum(row.num_boxes.values()))
    ink, faint = "#7c8b99", "rgba(128,144,160,.22)"
    return {
        "animation": False,
        "textStyle": {"fontFamily": "Roboto, sans-serif"},
        "grid": {"left": 8, "right": 54, "top": 30, "bottom": 4, "containLabel": True},
        "legend": {"top": 0, "left": 0, "textStyle": {"color": ink}},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}, "confine": True},
        "xAxis": {
            "type": "value",
            "axisLabel": {"color": ink},
            "splitLine": {"lineStyle": {"color": faint}},
        },
        "yAxis": {
            "type": "category",
            "data": [wording.plain(row.category) for row in rows],
            "axisTick": {"show": False},
            "axisLine": {"lineStyle": {"color": faint}},
            "axisLabel": {"color": ink, "fontSize": 13},
        },
        "series": [
            {
                "type": "bar",
                "name": SPLIT_WORDS[split],
                "stack": "boxes",
                "barMaxWidth": 16,
                "itemStyle": {"color": SPLIT_COLOURS[split]},
                "data": [row.num_boxes[split] for row in rows],
            }
            for split in Split
        ],
    }


def figures_view(figures: SnapshotFigures) -> Json:
    """Facts and the table of categories."""
    return {
        "facts": [
            ("Parts", _by_split(figures.num_parts)),
            ("Without a label", _by_split(figures.num_empty)),
            ("Sizes", wording.join([f"{size} ({n})" for size, n in _most(figures.sizes)])),
            ("From", wording.join([f"{name} ({n})" for name, n in _most(figures.sources)])),
        ],
        "sides": [
            {
                "name": row.category,
                "category": wording.plain(row.category),
                "num_boxes": sum(row.num_boxes.values()),
                "num_pictures": row.num_pictures,
                "sides": " · ".join(f"{side:.0f}" for side in row.side_px),
            }
            for row in sorted(figures.categories, key=lambda row: -sum(row.num_boxes.values()))
        ],
        "chart": category_chart(figures),
        "height": 120 + 43 * len(figures.categories),
    }


def colours(categories: Iterable[str]) -> dict[str, str]:
    """A colour for each category, the same on every sheet."""
    names = sorted(categories)
    return {name: CATEGORY_COLOURS[n % len(CATEGORY_COLOURS)] for n, name in enumerate(names)}


def sample_view(snapshot_id: str, picture: SnapshotPicture, colour: dict[str, str]) -> Json:
    """A picture of the sample sheet with its labels."""
    return picture_view(snapshot_id, picture) | {
        "title": picture.part_id,
        "note": f"{SPLIT_WORDS[picture.split]}, {len(picture.boxes)} boxes",
        "panes": [
            {
                "title": "",
                "boxes": [
                    {
                        "x": x,
                        "y": y,
                        "w": width,
                        "h": height,
                        "tone": "label",
                        "title": wording.plain(name),
                        "colour": colour.get(name, ""),
                    }
                    for name, x, y, width, height in picture.boxes
                ],
            }
        ],
    }


def picture_view(snapshot_id: str, picture: SnapshotPicture) -> Json:
    """Where a picture of a snapshot is, and how large."""
    url = f"/v1/snapshots/{snapshot_id}/pictures/{quote(picture.image_id, safe='')}"
    return {
        "key": picture.image_id,
        "url": url,
        "thumbnail": f"{url}/thumbnail",
        "width": picture.width,
        "height": picture.height,
        "href": "",
        "href_words": "",
    }


def doubt_view(
    snapshot_id: str, picture: SnapshotPicture, doubt: LabelDoubt, *, is_reviewed: bool
) -> Json:
    """A label that looks wrong, on its picture; one that came through review can be mended."""
    x, y, width, height = doubt.bbox
    words = DOUBT_WORDS[doubt.kind].format(
        found=wording.plain(doubt.category), label=wording.plain(doubt.labelled_as)
    )
    view = picture_view(snapshot_id, picture) | {
        "title": wording.sentence(words),
        "note": f"{picture.part_id}, {100 * doubt.confidence:.0f} % sure",
        "panes": [
            {
                "title": "",
                "boxes": [
                    {
                        "x": x,
                        "y": y,
                        "w": width,
                        "h": height,
                        "tone": "miss" if doubt.kind is DoubtKind.NOTHING_THERE else "extra",
                        "title": words,
                        "words": wording.plain(doubt.category),
                    }
                ],
            }
        ],
    }
    view["key"] = f"{doubt.image_id} {doubt.kind} {doubt.bbox}"
    if is_reviewed:
        view["href"] = f"/review?picture={doubt.image_id}"
        view["href_words"] = "Mend the label"
        view["thumbnail"] = thumbnail_url(doubt.image_id)
    return view


def agreement_view(report: AgreementReport) -> Json | None:
    """How far reviewers agree; None where nobody has looked twice."""
    if not report.overall.num_pictures:
        return None
    return {
        "overall": _agreement(report.overall),
        "people": [
            {"names": " and ".join(names)} | _agreement(figures)
            for names, figures in report.by_reviewers.items()
        ],
        "categories": [
            {
                "category": wording.plain(row.category),
                "text": f"{row.num_both} of {row.num_either}",
                "ratio": row.num_both / row.num_either if row.num_either else 0.0,
            }
            for row in report.by_category
        ],
    }


def _agreement(figures: AgreementFigures) -> Json:
    return {
        "pictures": f"{figures.num_agreed} of {figures.num_pictures}",
        "kappa": wording.UNKNOWN if figures.kappa is None else f"{figures.kappa:.2f}",
        "iou": wording.UNKNOWN if figures.mean_iou is None else f"{figures.mean_iou:.2f}",
    }


def _most(counts: dict[str, int]) -> Sequence[tuple[str, int]]:
    return list(counts.items())[:3]


def _by_split(counts: dict[Split, int]) -> str:
    total = sum(counts.values())
    parts = ", ".join(f"{counts[split]} {SPLIT_WORDS[split]}" for split in Split)
    return f"{wording.count_text(total)} ({parts})"

"""How to read detections: what a category is, and from which score on it counts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from cloud.db.session import Database
from cloud.db.tables import CategoryRow, Release
from models.contract.bundle import CategoryKind

FALLBACK_THRESHOLD = 0.3
"""For a model that was never released here: fainter findings are noise to a reader."""
NUM_RELEASES = 100

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Legend:
    """Kinds of categories, and the operating points of the released models."""

    kinds: Mapping[str, str] = field(default_factory=dict)
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By bundle_id, then by category."""

    def threshold(self, category: str, bundle_id: str | None) -> float:
        """Lowest score that counts."""
        known = self.thresholds.get(bundle_id or "", {})
        return float(known.get(category, FALLBACK_THRESHOLD))

    def boxes(
        self, detections: Iterable[Mapping[str, Any]], bundle_id: str | None = None
    ) -> list[Json]:
        """Detections that count, and labels (they have no score), as the picture draws them.

        Objects come first, so that defects lie on top.
        """
        boxes = []
        for detection in detections:
            category, score = str(detection["category"]), detection.get("score")
            if score is not None and score < self.threshold(category, bundle_id):
                continue
            x, y, width, height = detection["bbox"]
            boxes.append(
                {
                    "category": category,
                    "kind": self.kinds.get(category, CategoryKind.DEFECT.value),
                    "score": score,
                    "x": x,
                    "y": y,
                    "width": width,
                    "height": height,
                }
            )
        return sorted(boxes, key=lambda box: box["kind"] != CategoryKind.OBJECT.value)


def read_legend(database: Database) -> Legend:
    """What labels and releases know.

    Raises:
        UnavailableError: the database cannot be read.
    """
    newest_first = select(Release).order_by(Release.release.desc()).limit(NUM_RELEASES)
    with database.read() as session:
        releases = session.scalars(newest_first).all()
        rows = session.scalars(select(CategoryRow)).all()
    kinds: dict[str, str] = {}
    for release in reversed(releases):
        kinds |= {str(item["name"]): str(item["kind"]) for item in release.categories}
    return Legend(
        kinds=kinds | {row.name: row.kind.value for row in rows},
        thresholds={release.bundle_id: release.thresholds for release in releases},
    )

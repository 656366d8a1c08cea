"""What an import says of itself: to people, to machines, and in the files beside the snapshot."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import fsspec

from models.contract.snapshot import SnapshotManifest
from models.training.dataset_formats import Refusal
from models.training.snapshot_io import plain_url

REFUSED_NAME = "refused.jsonl"
REPORT_NAME = "import-report.txt"
NUM_EXAMPLES = 3
REASON_WIDTH = 52


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The outcome of an import.

    Attributes:
        url: of the snapshot.
        num_listed: pictures that the label files name.
        pictures: left out, each with its reason.
        labels: boxes and label files that were left out.
        notes: what was kept and deserves a look.
        seconds: wall time without the start of Spark.
    """

    manifest: SnapshotManifest
    url: str
    num_listed: int
    pictures: tuple[Refusal, ...]
    labels: tuple[Refusal, ...]
    notes: tuple[Refusal, ...]
    seconds: float

    @property
    def images_per_s(self) -> float:
        """Pictures checked a second, those that were refused among them."""
        return round(self.num_listed / max(self.seconds, 1e-6), 1)

    def text(self) -> str:
        """The report for people."""
        return "\n".join(self._lines())

    def facts(self) -> dict[str, Any]:
        """The report for machines; the single items are in `REFUSED_NAME`."""
        return {
            "snapshot_id": self.manifest.snapshot_id,
            "snapshot": self.url,
            "splits": {
                split.value: count.num_images for split, count in self.manifest.splits.items()
            },
            "boxes": _boxes(self.manifest),
            "num_listed": self.num_listed,
            "num_pictures_refused": len(self.pictures),
            "num_labels_refused": len(self.labels),
            "refused": self.manifest.refused,
            "notes": self.manifest.notes,
            "quarantine": f"{self.url.rstrip('/')}/{REFUSED_NAME}",
            "seconds": round(self.seconds, 2),
            "images_per_s": self.images_per_s,
        }

    def write(self) -> None:
        """Leave the quarantine list and the report for people beside the snapshot."""
        folder = plain_url(self.url)
        with fsspec.open(f"{folder}/{REFUSED_NAME}", "wt") as stream:
            for kind, refusals in self._kinds().items():
                for refusal in refusals:
                    known = {name: value for name, value in asdict(refusal).items() if value}
                    stream.write(json.dumps({"kind": kind} | known) + "\n")
        with fsspec.open(f"{folder}/{REPORT_NAME}", "wt") as stream:
            stream.write(self.text() + "\n")

    def _kinds(self) -> dict[str, Sequence[Refusal]]:
        return {"picture": self.pictures, "label": self.labels, "note": self.notes}

    def _lines(self) -> Iterator[str]:
        counts = {split.value: count.num_images for split, count in self.manifest.splits.items()}
        by_split = ", ".join(f"{count} {split}" for split, count in counts.items())
        yield f"snapshot {self.manifest.snapshot_id} at {self.url}"
        yield f"{sum(counts.values())} of {self.num_listed} pictures: {by_split}"
        boxes = [f"{count} {name}" for name, count in _boxes(self.manifest).items()]
        yield f"boxes: {', '.join(boxes)}"
        if self.pictures:
            yield f"left out: {_many(len(self.pictures), 'picture')}"
            yield from _by_reason(self.pictures)
        if self.labels:
            yield f"left out: {_many(len(self.labels), 'box or label', 'boxes or labels')}"
            yield from _by_reason(self.labels)
        if self.notes:
            yield f"kept, with {_many(len(self.notes), 'remark')}"
            yield from _by_reason(self.notes)
        if self.pictures or self.labels or self.notes:
            yield f"all of them: {self.url.rstrip('/')}/{REFUSED_NAME}"


def _by_reason(refusals: Sequence[Refusal]) -> Iterator[str]:
    for reason, count in Counter(refusal.reason for refusal in refusals).most_common():
        shown = [_example(refusal) for refusal in refusals if refusal.reason == reason]
        more = ", …" if count > NUM_EXAMPLES else ""
        yield f"{count:>7} {reason:<{REASON_WIDTH}} {', '.join(shown[:NUM_EXAMPLES])}{more}"


def _example(refusal: Refusal) -> str:
    return f"{refusal.item} (see {refusal.other})" if refusal.other else refusal.item


def _boxes(manifest: SnapshotManifest) -> dict[str, int]:
    total = Counter({category.name: 0 for category in manifest.categories})
    for counts in manifest.splits.values():
        total.update(counts.boxes_per_category)
    return dict(total)


def _many(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"

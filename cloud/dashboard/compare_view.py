"""What the comparison of two models shows of each picture: pure functions, plain JSON out."""

from typing import Any

from cloud.comparison import Change, ComparedPicture, Faults
from cloud.dashboard import wording
from cloud.dashboard.datasets_view import picture_view
from cloud.snapshot_pictures import SnapshotPicture

Json = dict[str, Any]

CHANGE_WORDS = {
    Change.WORSE: "Worse",
    Change.BETTER: "Better",
    Change.DIFFERENT: "Other faults",
    Change.SAME: "The same",
}
CHANGE_TONES = {Change.WORSE: "bad", Change.BETTER: "ok", Change.DIFFERENT: "unsure"}


def compared_view(
    snapshot_id: str, source: SnapshotPicture, picture: ComparedPicture, category: str | None
) -> Json:
    """A picture twice: with the running model's faults, and with the candidate's."""
    change = picture.change(category)
    panes = [_pane("New model", picture.candidate, category)]
    note = _faults_text(picture.candidate.of(category))
    if picture.running is not None:
        panes.insert(0, _pane("Running model", picture.running, category))
        note = f"{_faults_text(picture.running.of(category))} → {note}"
    return picture_view(snapshot_id, source) | {
        "title": f"{source.part_id}: {CHANGE_WORDS[change].lower()}",
        "note": note,
        "panes": panes,
    }


def _pane(title: str, faults: Faults, category: str | None) -> Json:
    shown = faults.of(category)
    boxes = [
        _box(box.bbox, "hit", f"{wording.plain(box.category)} {box.score:.2f}")
        for box in shown.hits
    ]
    boxes += [
        _box(label.bbox, "miss", words, words)
        for label in shown.misses
        for words in [f"missed {wording.plain(label.category)}"]
    ]
    boxes += [
        _box(box.bbox, "extra", words, words)
        for box in shown.extras
        for words in [f"false {wording.plain(box.category)} {box.score:.2f}"]
    ]
    return {"name": title, "title": f"{title}: {_faults_text(shown)}", "boxes": boxes}


def _box(bbox: tuple[float, float, float, float], tone: str, title: str, words: str = "") -> Json:
    x, y, width, height = bbox
    return {"x": x, "y": y, "w": width, "h": height, "tone": tone, "title": title, "words": words}


def _faults_text(faults: Faults) -> str:
    if not faults.count:
        return "no fault"
    parts = []
    if faults.misses:
        parts.append(f"{len(faults.misses)} missed")
    if faults.extras:
        parts.append(f"{len(faults.extras)} false")
    return ", ".join(parts)

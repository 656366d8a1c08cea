"""How things are called on the screen: short words for people beside a machine."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from models.contract.messages import HardReason, ReasonCode, Verdict

UNKNOWN = "\u2013"
"""What stands where nothing is known: a dash."""

VERDICT_WORDS = {
    Verdict.OK: "OK",
    Verdict.NOT_OK: "NOT_OK",
    Verdict.NOT_DECIDABLE: "NOT_DECIDABLE",
}

REASON_WORDS = {
    ReasonCode.MISSING_OBJECT: "missing",
    ReasonCode.DEFECT: "defect",
    ReasonCode.NO_FRAME: "no picture from the camera",
    ReasonCode.DEADLINE: "not decided in time",
    ReasonCode.BLACK: "picture is black",
    ReasonCode.OVEREXPOSED: "picture is over-exposed",
    ReasonCode.BLURRED: "picture is blurred",
    ReasonCode.FROZEN: "camera repeats its picture",
    ReasonCode.WRONG_SIZE: "picture has the wrong size",
    ReasonCode.MODEL_FAULT: "model failed",
    ReasonCode.CAMERA_FAULT: "camera failed",
    ReasonCode.MISSING_VIEW: "a view is missing",
}

HARD_REASON_WORDS = {
    HardReason.UNCERTAIN: "uncertain score",
    HardReason.LOW_SCORE_UNDER_OK: "faint finding on an OK part",
    HardReason.WEAK_EXPECTED: "expected object seen weakly",
    HardReason.FLIP_DISAGREEMENT: "mirrored picture disagrees",
    HardReason.SHADOW_DISAGREEMENT: "new model disagrees",
    HardReason.NOVELTY: "looks new",
    HardReason.AUDIT: "random audit",
    HardReason.CONTRADICTION: "somebody contradicted",
    HardReason.REJECT: "rejected part",
}


def plain(name: str) -> str:
    """A category's or state's name as words: ``missing_bolt`` becomes ``missing bolt``."""
    return name.replace("_", " ")


def sentence(text: str) -> str:
    """The same words with a capital first letter."""
    return text[:1].upper() + text[1:]


def reason_text(reason: Mapping[str, Any]) -> str:
    """One reason of a verdict in words: what the cell wrote, else built from its code."""
    if reason.get("text"):
        category = str(reason.get("category") or "")
        text = str(reason["text"])
        return sentence(text.replace(category, plain(category)) if category else text)
    return sentence(reason_short(reason))


def reason_short(reason: Mapping[str, Any]) -> str:
    """The shortest form that still says what is wrong."""
    code = str(reason.get("code", ""))
    subject = reason.get("object_name") or reason.get("category")
    if code == ReasonCode.MISSING_OBJECT and subject:
        return f"{plain(str(subject))} missing"
    if code == ReasonCode.DEFECT and subject:
        return plain(str(reason.get("category") or subject))
    try:
        return REASON_WORDS[ReasonCode(code)]
    except ValueError:
        return plain(code) or "no reason given"


def hard_reason_text(code: str) -> str:
    """Why a picture is worth a look."""
    try:
        return HARD_REASON_WORDS[HardReason(code)]
    except ValueError:
        return plain(code)


def cell_title(cell: str) -> str:
    """Heading of a cell: its line and its own name, ``line1/cell2`` → ``line1 · cell2``."""
    levels = cell.split("/")
    if len(levels) != 4:
        return cell
    return f"{_titled(levels[2])} · {_titled(levels[3])}"


def cell_place(cell: str) -> str:
    """Site and area of a cell."""
    levels = cell.split("/")
    return " / ".join(levels[:2]) if len(levels) == 4 else ""


def _titled(level: str) -> str:
    """``line1`` and ``line-1`` become ``Line 1``; names without a digit only get a capital."""
    words = level.replace("_", " ").replace("-", " ").strip()
    head = words.rstrip("0123456789")
    tail = words[len(head) :]
    return sentence(f"{head.strip()} {tail}".strip())


def model_text(name: str | None, release: int | None) -> str:
    """A model as people speak of it: its name and release number."""
    if not name:
        return ""
    return f"{name} r{release}" if release else f"{name} (installed by hand)"


def ratio_text(value: float | None, digits: int = 1) -> str:
    """A share as per cent; a dash when it is not known."""
    return UNKNOWN if value is None else f"{100 * value:.{digits}f} %"


def score_text(value: float | None) -> str:
    """A metric between 0 and 1 with three digits; a dash when it is not known."""
    return UNKNOWN if value is None else f"{value:.3f}"


def duration_text(seconds: float | None) -> str:
    """A duration in at most two units."""
    if seconds is None:
        return UNKNOWN
    whole = round(max(0.0, seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def ago_text(moment: datetime | None, now: datetime | None = None) -> str:
    """How long ago, in one unit."""
    if moment is None:
        return "never"
    age = (now or datetime.now(UTC)) - moment
    for unit, name in ((timedelta(days=1), "d"), (timedelta(hours=1), "h")):
        if age >= 2 * unit:
            return f"{age // unit} {name} ago"
    if age >= timedelta(seconds=90):
        return f"{age // timedelta(minutes=1)} min ago"
    return "just now" if age < timedelta(seconds=2) else f"{int(age.total_seconds())} s ago"


def join(words: Sequence[str]) -> str:
    """Words with commas; an empty sequence is a dash."""
    return ", ".join(words) or UNKNOWN


def milliseconds(moment: datetime) -> float:
    """A moment as JavaScript counts it."""
    return moment.timestamp() * 1000.0


def count_text(number: int) -> str:
    """A count with a thin space between thousands."""
    return f"{number:,}".replace(",", "\u202f")


def bytes_text(number: int) -> str:
    """A size in the unit that keeps it short."""
    size = float(number)
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"

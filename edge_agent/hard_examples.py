"""Why a picture is worth a person's look: one pure function a reason.

Rules that look at confidence alone miss the worst pictures: an empty answer on a defective part
looks easy, and one doubtful box among nine sure ones disappears in the mean. Hence the floor hits
under an OK, the expected objects, the novelty (`edge_agent.novelty`), and a random audit that
knows nothing of the model. `edge_agent.miner` asks them all.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from models.contract.messages import HardReason, Verdict
from models.contract.recipe import ExpectedObject, View
from models.detector.detections import Detections

STRONGEST_FIRST = (
    HardReason.CONTRADICTION,
    HardReason.SHADOW_DISAGREEMENT,
    HardReason.FLIP_DISAGREEMENT,
    HardReason.LOW_SCORE_UNDER_OK,
    HardReason.WEAK_EXPECTED,
    HardReason.UNCERTAIN,
    HardReason.NOVELTY,
    HardReason.AUDIT,
    HardReason.REJECT,
)


def effective_thresholds(view: View, thresholds: Mapping[str, float]) -> dict[str, float]:
    """The bundle's thresholds, with those of the recipe over them."""
    merged = dict(thresholds)
    merged.update({e.category: e.min_score for e in view.expected if e.min_score is not None})
    merged.update({d.category: d.min_score for d in view.forbidden if d.min_score is not None})
    return merged


def doubt(detections: Detections, thresholds: Sequence[float]) -> float:
    """How near the most doubtful box lies to its threshold: 0 right on it, falling from there."""
    distances = (abs(score - thresholds[class_id]) for class_id, score in _scores(detections))
    return -min(distances, default=1.0)


def suspicion(
    detections: Detections, thresholds: Sequence[float], *, is_defect: Sequence[bool]
) -> float:
    """Score of the strongest defect that did not count, as a share of what would have counted."""
    weak = (
        score / max(thresholds[class_id], 1e-6)
        for class_id, score in _scores(detections)
        if is_defect[class_id] and score < thresholds[class_id]
    )
    return max(weak, default=0.0)


def is_uncertain(
    detections: Detections,
    thresholds: Sequence[float],
    *,
    band: float,
    low_score: float,
) -> bool:
    """Whether any single box, not the mean of all, lies near its threshold.

    Args:
        detections: every box above the detector's floor.
        thresholds: lowest score that counts, by class id.
        band: largest distance that is near.
        low_score: below this a box is noise.
    """
    return any(
        score >= low_score and abs(score - thresholds[class_id]) <= band
        for class_id, score in _scores(detections)
    )


def has_low_score_under_ok(
    verdict: Verdict,
    detections: Detections,
    thresholds: Sequence[float],
    *,
    is_defect: Sequence[bool],
    low_score: float,
) -> bool:
    """Whether a part passed although the detector had a suspicion of a defect."""
    return verdict is Verdict.OK and any(
        is_defect[class_id] and low_score <= score < thresholds[class_id]
        for class_id, score in _scores(detections)
    )


def num_sure_defects(
    detections: Detections, thresholds: Sequence[float], *, is_defect: Sequence[bool], band: float
) -> int:
    """Defects that score more than ``band`` over their thresholds."""
    return sum(
        is_defect[class_id] and score > thresholds[class_id] + band
        for class_id, score in _scores(detections)
    )


def weakness(
    expected: ExpectedObject, detections: Detections, class_id: int | None, *, threshold: float
) -> float:
    """How little an expected object's weakest score is above its threshold; 1 when it is absent.

    Args:
        expected: the recipe's object.
        detections: every box above the detector's floor.
        class_id: of the object's category; None when the model does not know it.
        threshold: lowest score that counts.
    """
    if class_id is None:
        return 1.0
    zone, found = expected.zone, _sightings(detections).get(class_id, ())
    scores = [score for score, x, y in found if zone is None or zone.contains(x, y)]
    if len(scores) < expected.count:
        return 1.0
    # Scores fall, so this one is the weakest of those that the recipe counts on.
    return threshold - scores[expected.count - 1]


def is_weak(weakness: float, *, band: float) -> bool:
    """Whether an object that must be there was found with a low score, or too few times.

    Args:
        weakness: as `weakness` gives it.
        band: a score less than this above the threshold is low.
    """
    return weakness > -band


@lru_cache(maxsize=1)
def _scores(detections: Detections) -> list[tuple[int, float]]:
    """Class id and score of each box as plain numbers: numpy takes longer to begin with them."""
    return [(int(class_id), score) for class_id, score, *_ in detections.rows(0.0)]


@lru_cache(maxsize=1)
def _sightings(detections: Detections) -> dict[float, list[tuple[float, float, float]]]:
    """Score and centre of each box by class, best first; a recipe asks a dozen times in a row."""
    found: dict[float, list[tuple[float, float, float]]] = {}
    for class_id, score, x1, y1, x2, y2 in detections.rows(0.0):
        found.setdefault(class_id, []).append((score, (x1 + x2) / 2, (y1 + y2) / 2))
    return found

"""Why a picture is worth a person's look: one pure function a reason.

Rules that look at confidence alone miss the worst pictures: an empty answer on a defective part
looks easy, and one doubtful box among nine sure ones disappears in the mean. Hence the floor hits
under an OK, the expected objects, the novelty (`edge_agent.novelty`), and a random audit that
knows nothing of the model. `edge_agent.miner` asks them all.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

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
    limits = np.asarray(thresholds)[detections.class_ids]
    return -float(np.abs(detections.scores - limits).min(initial=1.0))


def suspicion(
    detections: Detections, thresholds: Sequence[float], *, is_defect: Sequence[bool]
) -> float:
    """Score of the strongest defect that did not count, as a share of what would have counted."""
    limits = np.asarray(thresholds)[detections.class_ids]
    weak = np.asarray(is_defect)[detections.class_ids] & (detections.scores < limits)
    ratios = detections.scores[weak] / np.maximum(limits[weak], 1e-6)
    return float(ratios.max(initial=0.0))


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
    limits = np.asarray(thresholds)[detections.class_ids]
    near = np.abs(detections.scores - limits) <= band
    return bool(np.any(near & (detections.scores >= low_score)))


def has_low_score_under_ok(
    verdict: Verdict,
    detections: Detections,
    thresholds: Sequence[float],
    *,
    is_defect: Sequence[bool],
    low_score: float,
) -> bool:
    """Whether a part passed although the detector had a suspicion of a defect."""
    if verdict is not Verdict.OK:
        return False
    limits = np.asarray(thresholds)[detections.class_ids]
    suspects = np.asarray(is_defect)[detections.class_ids]
    weak = (detections.scores >= low_score) & (detections.scores < limits)
    return bool(np.any(suspects & weak))


def is_weakly_expected(
    expected: ExpectedObject,
    detections: Detections,
    class_id: int | None,
    *,
    threshold: float,
    band: float,
) -> bool:
    """Whether an object that must be there was found with a low score, or too few times.

    Args:
        expected: the recipe's object.
        detections: every box above the detector's floor.
        class_id: of the object's category; None when the model does not know it.
        threshold: lowest score that counts.
        band: a score less than this above the threshold is low.
    """
    return weakness(expected, detections, class_id, threshold=threshold) > -band


def weakness(
    expected: ExpectedObject, detections: Detections, class_id: int | None, *, threshold: float
) -> float:
    """How little an expected object's weakest score is above its threshold; 1 when it is absent."""
    if class_id is None:
        return 1.0
    zone, found = expected.zone, _sightings(detections).get(class_id, ())
    scores = [score for score, x, y in found if zone is None or zone.contains(x, y)]
    if len(scores) < expected.count:
        return 1.0
    # Scores fall, so this one is the weakest of those that the recipe counts on.
    return threshold - scores[expected.count - 1]


@lru_cache(maxsize=1)
def _sightings(detections: Detections) -> dict[int, list[tuple[float, float, float]]]:
    """Score and centre of each box by class, best first; a recipe asks a dozen times in a row."""
    found: dict[int, list[tuple[float, float, float]]] = {}
    rows = zip(
        detections.class_ids.tolist(),
        detections.scores.tolist(),
        ((detections.boxes[:, :2] + detections.boxes[:, 2:]) / 2).tolist(),
        strict=True,
    )
    for class_id, score, (x, y) in rows:
        found.setdefault(class_id, []).append((score, x, y))
    return found

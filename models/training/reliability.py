"""Whether scores mean what they say: of boxes that score 0.8, are eight of ten right?"""

from collections.abc import Iterable

import numpy as np
from pydantic import Field

from models.contract.model import Frozen
from models.contract.proportions import wilson_interval
from models.training.box_matching import ClassMatches, Flags, Floats

NUM_BINS = 10
# The many boxes that score next to nothing would make any detector look calibrated.
MIN_SCORE = 0.05


class ReliabilityBin(Frozen):
    """Boxes whose scores lie in one range."""

    low: float
    high: float
    num_boxes: int = Field(ge=0)
    mean_score: float | None = None
    hit_ratio: float | None = None
    hit_ratio_low: float = 0.0
    hit_ratio_high: float = 1.0


class Reliability(Frozen):
    """Scores against what became of them.

    Attributes:
        bins: of equal width, from 0 to 1.
        ece: expected calibration error (Guo et al. 2017): the mean gap between score and share of
            hits over the bins, by their boxes; None where nothing was found.
        num_boxes: boxes from `MIN_SCORE` up.
    """

    bins: tuple[ReliabilityBin, ...]
    ece: float | None = None
    num_boxes: int = Field(ge=0)


def reliability_of(matches: Iterable[ClassMatches]) -> Reliability:
    """Compare the scores of some classes' boxes with the share that met a label."""
    own = list(matches)
    scores = np.concatenate([part.scores for part in own]) if own else np.zeros(0)
    hits = np.concatenate([part.hits for part in own]) if own else np.zeros(0, bool)
    counted = scores >= MIN_SCORE
    scores, hits = scores[counted], hits[counted]
    places = np.minimum((scores * NUM_BINS).astype(int), NUM_BINS - 1)
    bins = [
        _bin(place, scores[places == place], hits[places == place]) for place in range(NUM_BINS)
    ]
    gaps = [
        entry.num_boxes * abs((entry.mean_score or 0.0) - (entry.hit_ratio or 0.0))
        for entry in bins
    ]
    ece = round(sum(gaps) / len(scores), 4) if len(scores) else None
    return Reliability(bins=tuple(bins), ece=ece, num_boxes=len(scores))


def _bin(place: int, scores: Floats, hits: Flags) -> ReliabilityBin:
    low, high = place / NUM_BINS, (place + 1) / NUM_BINS
    if not len(scores):
        return ReliabilityBin(low=low, high=high, num_boxes=0)
    least, most = wilson_interval(float(hits.sum()), len(hits))
    return ReliabilityBin(
        low=low,
        high=high,
        num_boxes=len(scores),
        mean_score=round(float(scores.mean()), 4),
        hit_ratio=round(float(hits.mean()), 4),
        hit_ratio_low=round(least, 4),
        hit_ratio_high=round(most, 4),
    )

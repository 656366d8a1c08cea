"""How far average precision would move on other pictures of the same kind.

Pictures are drawn anew with replacement (Efron 1979) and the average precision is computed for each
draw, with pycocotools' 101 points. Boxes of one picture stay together: they share its light.
"""

from collections.abc import Mapping

import numpy as np

from models.training.box_matching import ClassMatches, Floats

NUM_DRAWS = 300
RECALL_POINTS = np.linspace(0.0, 1.0, 101)
INTERVAL_PERCENT = (2.5, 97.5)
# Fewer pictures than this say nothing about how others would look.
MIN_PICTURES = 5

Interval = tuple[float, float]


def ap_intervals(
    matches: Mapping[str, ClassMatches], *, seed: int = 0
) -> tuple[Interval | None, dict[str, Interval | None]]:
    """95 % intervals of mAP@0.5 and of every class's AP@0.5; None where nothing can be said.

    Args:
        matches: of every class on the same pictures.
        seed: of the draws.
    """
    num_pictures = next(iter(matches.values())).num_pictures if matches else 0
    if num_pictures < MIN_PICTURES:
        return None, dict.fromkeys(matches)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(
        num_pictures, np.full(num_pictures, 1 / num_pictures), NUM_DRAWS
    ).astype(float)
    drawn = {
        name: np.array([average_precision(own, counts) for counts in draws])
        for name, own in matches.items()
    }
    known = [values for values in drawn.values() if not np.isnan(values).all()]
    if not known:
        return None, dict.fromkeys(matches)
    # A draw without any box of a class leaves that class out of its mean.
    means = np.nanmean(np.array(known), axis=0)
    return _interval(means), {name: _interval(values) for name, values in drawn.items()}


def average_precision(matches: ClassMatches, counts: Floats | None = None) -> float:
    """AP@0.5 where each picture counts as often as ``counts`` says; NaN without a label."""
    precision = precision_at_recalls(matches, counts)
    return float(precision.mean()) if len(precision) else float("nan")


def precision_at_recalls(matches: ClassMatches, counts: Floats | None = None) -> Floats:
    """Best precision at pycocotools' 101 recalls.

    Args:
        matches: of one class.
        counts: ``(num_pictures,)`` how often each picture counts; once if left out.

    Returns:
        ``(101,)``; empty where no label counts.
    """
    if counts is None:
        counts = np.ones(matches.num_pictures)
    num_labels = counts[matches.label_pictures].sum()
    if not num_labels:
        return np.zeros(0)
    found: Floats = np.zeros(len(RECALL_POINTS))
    if not len(matches.scores):
        return found
    shown = counts[matches.pictures]
    right = np.cumsum(shown * matches.hits)
    total = np.cumsum(shown)
    precision = np.divide(right, total, out=np.zeros_like(right), where=total > 0)
    # At each recall, the best precision that this or a lower threshold reaches.
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(right / num_labels, RECALL_POINTS - 1e-12)
    reached = places < len(envelope)
    found[reached] = envelope[places[reached]]
    return found


def _interval(values: Floats) -> Interval | None:
    if np.isnan(values).all():
        return None
    low, high = np.nanpercentile(values, INTERVAL_PERCENT)
    return round(float(low), 4), round(float(high), 4)

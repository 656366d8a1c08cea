"""When a share that was seen is proven to lie above a limit, however often one looks.

A window is asked after each part whether the model has to go. Asked so often, an interval for one
look (Wilson, Clopper-Pearson) condemns a good model far more often than it says. This test may be
asked at any time: the likelihood ratio of "some share above the limit, none preferred" against the
limit itself is a non-negative supermartingale wherever the true share is not above the limit, and
by Ville's inequality (1939) such a one ever reaches ``1 / ALPHA`` with a chance of at most
``ALPHA``, over the whole of an endless sequence.
"""

import math
from functools import lru_cache

import numpy as np

ALPHA = 0.05
"""Chance that a share right at its limit is ever held to be above it."""
NUM_STEPS = 400
_MIDDLES = (np.arange(NUM_STEPS) + 0.5) / NUM_STEPS


def is_above(seen: int, trials: int, limit: float, *, alpha: float = ALPHA) -> bool:
    """Whether the share behind ``seen`` of ``trials`` is proven to be larger than ``limit``.

    Args:
        seen: parts of which it is true.
        trials: parts looked at, in one sequence; may be asked after each of them.
        limit: share of 0 to below 1.
        alpha: chance of a false yes over the whole sequence.
    """
    return seen > 0 and evidence(seen, trials, limit) >= 1 / alpha


@lru_cache(maxsize=4096)
def evidence(seen: int, trials: int, limit: float) -> float:
    """Likelihood ratio of all shares above ``limit``, taken evenly, against ``limit``."""
    if limit <= 0:
        return math.inf if seen else 1.0
    shares = limit + (1 - limit) * _MIDDLES
    ratio = seen * np.log(shares / limit)
    ratio += (trials - seen) * np.log((1 - shares) / (1 - limit))
    return float(np.exp(np.minimum(ratio, 700.0)).mean())

"""How long a fit lasts, how its learning rate moves, and which pictures each step sees: pure."""

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

MIN_STEPS = 20
WARM_UP_RATIO = 0.05
MIN_WARM_UP_STEPS = 10
# Ends a little above zero: the last steps of an exact cosine teach nothing.
FINAL_RATE_RATIO = 0.01


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up, then half a cosine.

    It depends on the progress alone, so a fit that is shortened on the way still ends low.

    Args:
        step: about to be done, from 0.
        steps: of the whole fit.
        peak: highest rate.
    """
    warm_up = warm_up_steps(steps)
    if step < warm_up:
        return peak * (step + 1) / warm_up
    progress = min(1.0, (step - warm_up) / max(1, steps - warm_up))
    cosine = (1 + math.cos(math.pi * progress)) / 2
    return peak * (FINAL_RATE_RATIO + (1 - FINAL_RATE_RATIO) * cosine)


def backbone_share(step: int, steps: int) -> float:
    """Part of its rate that the backbone gets, in ``[0, 1]``.

    While the rate warms up, the heads know nothing and their gradients would only spoil what the
    backbone has learnt elsewhere; over as many steps again it joins in.
    """
    warm_up = warm_up_steps(steps)
    return min(1.0, max(0.0, (step - warm_up + 1) / warm_up))


def warm_up_steps(steps: int) -> int:
    """Steps of rising rate."""
    return min(steps, max(MIN_WARM_UP_STEPS, round(steps * WARM_UP_RATIO)))


def plan_steps(done: int, step_s: float, seconds_left: float) -> int:
    """Steps that fit into the time that is left, counted from the start of the fit."""
    if step_s <= 0:
        return max(MIN_STEPS, done)
    return max(MIN_STEPS, done + int(seconds_left / step_s))


def settling_from(steps: int, share: float) -> int:
    """The step from which pictures are shown nearly as the camera took them."""
    return steps - round(steps * share)


class Milestones:
    """When the model is judged: after equal parts of a plan that may change, always at its end.

    Args:
        rounds: how often over the whole fit.
    """

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._passed = 0

    def start_at(self, done: int, steps: int) -> None:
        """Go on with a plan of which ``done`` steps are already done."""
        self._passed = self._part(done, steps)

    def is_due(self, done: int, steps: int) -> bool:
        """Whether to judge now; asked once after each step."""
        part = self._part(done, steps)
        if part <= self._passed and done < steps:
            return False
        self._passed = part
        return True

    def left(self, done: int, steps: int) -> int:
        """Judgements still to come."""
        return self._limited(steps) - self._part(done, steps)

    def _part(self, done: int, steps: int) -> int:
        return done * self._limited(steps) // max(1, steps)

    def _limited(self, steps: int) -> int:
        return max(1, min(self._rounds, steps // MIN_STEPS))


def picture_weights(
    labels: Sequence[frozenset[str]],
    *,
    new_categories: frozenset[str] = frozenset(),
    new_share: float = 0.4,
    rare_limit: float = 0.2,
) -> Array:
    """How often each picture is shown, relative to the others.

    A category that is in fewer than ``rare_limit`` of the pictures is shown more often, by the
    square root of how far it falls short (Gupta et al. 2019, LVIS, sec. 4.2, "repeat factor
    sampling"). Pictures of categories that the initial weights do not know are then given at least
    ``new_share`` of all showings: a few dozen among hundreds would not be learnt in a short fit.

    Args:
        labels: categories in each picture.
        new_categories: those that are new to the model.
        new_share: of the showings, for pictures with a new category.
        rare_limit: share of pictures from which a category is not rare.

    Returns:
        ``(N,)`` weights that add up to 1.
    """
    if not labels:
        return np.zeros(0)
    names = frozenset[str]().union(*labels)
    share = {name: sum(name in own for own in labels) / len(labels) for name in names}
    factor = {name: max(1.0, math.sqrt(rare_limit / share[name])) for name in names}
    weights = np.array([max((factor[name] for name in own), default=1.0) for own in labels])
    weights /= weights.sum()
    is_new = np.array([bool(own & new_categories) for own in labels])
    current = weights[is_new].sum()
    if 0 < current < new_share and not is_new.all():
        weights[is_new] *= new_share / current
        weights[~is_new] *= (1 - new_share) / (1 - current)
    return weights


class StepClock:
    """How long a step takes now: a mean over the last few dozen.

    Other work on the machine comes and goes, so the mean over the whole fit would mislead.
    """

    def __init__(self, remembered: int = 40) -> None:
        self._durations: deque[float] = deque(maxlen=remembered)

    def add(self, seconds: float) -> None:
        """Count one step."""
        self._durations.append(seconds)

    @property
    def step_s(self) -> float:
        """Seconds for each step; 0 while none was counted."""
        return sum(self._durations) / len(self._durations) if self._durations else 0.0


class Sampler:
    """Which pictures a rank sees at each step; step k is the same whoever asks, and when.

    Every epoch shows each picture in proportion to its weight, as evenly as whole numbers allow
    (systematic resampling), in a new order.
    """

    def __init__(self, weights: Array, batch: int, seed: int) -> None:
        self._edges = np.cumsum(weights / weights.sum())
        self._batch = batch
        self._seed = seed
        self._epoch = (-1, np.zeros(0, np.int64))

    def batch(self, step: int) -> npt.NDArray[np.int64]:
        """Places of the pictures of one step, ``(batch,)``."""
        first = step * self._batch
        size = len(self._edges)
        return np.array(
            [
                self._order(position // size)[position % size]
                for position in range(first, first + self._batch)
            ]
        )

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        if self._epoch[0] != epoch:
            rng = np.random.default_rng((self._seed, epoch))
            size = len(self._edges)
            marks = (np.arange(size) + rng.random()) / size
            chosen = np.searchsorted(self._edges, marks).clip(0, size - 1)
            self._epoch = (epoch, rng.permutation(chosen))
        return self._epoch[1]

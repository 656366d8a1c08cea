"""How long one picture takes, INT8 beside float, on the machine that makes the bundle."""

import time
from collections.abc import Mapping, Sequence

import numpy as np

from models.detector.preprocess import Image
from models.detector.runtime import DetectorRuntime
from models.training.card_facts import SpeedRow

MAX_SECONDS = 6.0
MAX_ROUNDS = 60
WARM_UP_ROUNDS = 3


def measure_speed(
    runtimes: Mapping[str, DetectorRuntime],
    pictures: Sequence[Image],
    *,
    max_seconds: float = MAX_SECONDS,
) -> list[SpeedRow]:
    """Time some bundles in turns, so that what else the machine does meets all of them alike.

    Args:
        runtimes: by the name to report.
        pictures: to be shown one after the other.
        max_seconds: of the whole measurement.
    """
    if not pictures:
        return []
    times: dict[str, list[float]] = {name: [] for name in runtimes}
    over = time.monotonic() + max_seconds
    for number in range(WARM_UP_ROUNDS + MAX_ROUNDS):
        for name, runtime in runtimes.items():
            started = time.perf_counter()
            runtime.infer(pictures[number % len(pictures)])
            if number >= WARM_UP_ROUNDS:
                times[name].append((time.perf_counter() - started) * 1e3)
        if number > WARM_UP_ROUNDS and time.monotonic() > over:
            break
    return [
        SpeedRow(name, *(round(float(value), 2) for value in np.percentile(own, [50, 99])))
        for name, own in times.items()
    ]

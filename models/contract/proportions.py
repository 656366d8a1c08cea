"""How sure a share is that was counted on few cases."""

import math

Z_95 = 1.959964
"""Two-sided 95 %."""


def wilson_interval(hits: float, total: int, z: float = Z_95) -> tuple[float, float]:
    """Bounds of a proportion, ``(0, 1)`` when nothing was counted.

    Wilson 1927; unlike the normal approximation it stays inside ``[0, 1]`` on few counts.
    """
    if total <= 0:
        return 0.0, 1.0
    ratio = hits / total
    scale = 1.0 + z * z / total
    middle = (ratio + z * z / (2 * total)) / scale
    reach = z * math.sqrt(ratio * (1 - ratio) / total + z * z / (4 * total * total)) / scale
    return max(0.0, middle - reach), min(1.0, middle + reach)

"""Durations as people write them: ``90s``, ``45m``, ``1h30m``."""

import re

_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0}
_PATTERN = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def parse_duration(text: str) -> float:
    """Seconds of a duration; a plain number counts as seconds.

    Raises:
        ValueError: it is not one.
    """
    compact = text.strip().lower().replace(" ", "")
    if re.fullmatch(r"\d+(\.\d+)?", compact):
        return float(compact)
    found = _PATTERN.fullmatch(compact)
    if not compact or found is None:
        raise ValueError(f"{text!r} is not a duration: write 90s, 45m or 1h30m")
    return sum(
        float(value) * _UNIT_S[unit]
        for value, unit in zip(found.groups(), "hms", strict=True)
        if value
    )

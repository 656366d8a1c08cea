"""Shifts and the other stretches of time that people ask for."""

from datetime import datetime, time, timedelta

SHIFT_STARTS = (time(6), time(14), time(22))
"""Three shifts of eight hours, as most plants have them, in the plant's local time."""

PERIODS = {
    "shift": "This shift",
    "last-shift": "Last shift",
    "1h": "Last hour",
    "24h": "Last 24 hours",
    "7d": "Last 7 days",
    "30d": "Last 30 days",
    "range": "From … to …",
}
"""Names of stretches of time, as addresses and menus carry them."""
_LENGTHS = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}

Stretch = tuple[datetime | None, datetime | None]


def shift_start(now: datetime, starts: tuple[time, ...] = SHIFT_STARTS) -> datetime:
    """Beginning of the shift that ``now`` lies in.

    Args:
        now: an aware moment in the plant's time zone.
        starts: times of day at which shifts begin, in rising order.
    """
    today = [
        now.replace(hour=start.hour, minute=start.minute, second=0, microsecond=0)
        for start in starts
    ]
    begun = [moment for moment in today if moment <= now]
    return begun[-1] if begun else today[-1] - timedelta(days=1)


def stretch_of(period: str, now: datetime, *, start: str = "", end: str = "") -> Stretch:
    """When a named stretch begins and ends; None: it has no end there.

    Args:
        period: a key of `PERIODS`; another one is everything.
        now: an aware moment in the plant's time zone.
        start: with ``range``: local date and time; what cannot be read does not narrow.
        end: the same.
    """
    if period in _LENGTHS:
        return now - _LENGTHS[period], None
    if period == "shift":
        return shift_start(now), None
    if period == "last-shift":
        end_at = shift_start(now)
        return shift_start(end_at - timedelta(seconds=1)), end_at
    if period == "range":
        return _moment(start, now), _moment(end, now)
    return None, None


def _moment(text: str, now: datetime) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=now.tzinfo)
    except ValueError:
        return None

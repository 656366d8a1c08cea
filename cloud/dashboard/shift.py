"""Which shift it is: counters on the Line page start again with each one."""

from datetime import datetime, time, timedelta

SHIFT_STARTS = (time(6), time(14), time(22))
"""Three shifts of eight hours, as most plants have them, in the plant's local time."""


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

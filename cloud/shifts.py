"""Shifts and the other stretches of time that people ask for."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

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


def time_of_day(value: object) -> time:
    """Read ``HH:MM``; TOML's own times of day are fine too.

    Raises:
        ValueError: it is nothing of the kind.
    """
    if isinstance(value, time) and value == time(value.hour, value.minute):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        raise ValueError(f"{value!r} is not a time of day: write it like '06:00'")
    return time.fromisoformat(value)


def zone_of(name: str) -> ZoneInfo:
    """The time zone of an IANA name.

    Raises:
        ValueError: none is called so.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"no time zone is called {name!r}: give an IANA name such as 'Europe/Berlin'"
        ) from error


@dataclass(frozen=True, slots=True)
class PlantClock:
    """Time as the plant's people tell it.

    Attributes:
        zone: Its time zone; None: the machine's.
        shift_starts: Times of day at which shifts begin, in rising order.
    """

    zone: tzinfo | None = None
    shift_starts: tuple[time, ...] = SHIFT_STARTS

    def now(self) -> datetime:
        """The moment, in the plant's time zone."""
        return datetime.now(UTC).astimezone(self.zone)

    def shift_start(self, now: datetime) -> datetime:
        """Beginning of the shift that ``now`` lies in."""
        return shift_start(now, self.shift_starts)

    def stretch(self, period: str, *, start: str = "", end: str = "") -> Stretch:
        """`stretch_of` now."""
        return stretch_of(period, self.now(), starts=self.shift_starts, start=start, end=end)


def stretch_of(
    period: str,
    now: datetime,
    *,
    starts: tuple[time, ...] = SHIFT_STARTS,
    start: str = "",
    end: str = "",
) -> Stretch:
    """When a named stretch begins and ends; None: it has no end there.

    Args:
        period: a key of `PERIODS`; another one is everything.
        now: an aware moment in the plant's time zone.
        starts: times of day at which shifts begin, in rising order.
        start: with ``range``: local date and time; what cannot be read does not narrow.
        end: the same.
    """
    if period in _LENGTHS:
        # Hours that went by, not hours on the wall: twice a year a day has 23 or 25.
        return (now.astimezone(UTC) - _LENGTHS[period]).astimezone(now.tzinfo), None
    if period == "shift":
        return shift_start(now, starts), None
    if period == "last-shift":
        end_at = shift_start(now, starts)
        return shift_start(end_at - timedelta(seconds=1), starts), end_at
    if period == "range":
        return _moment(start, now), _moment(end, now)
    return None, None


def _moment(text: str, now: datetime) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=now.tzinfo)
    except ValueError:
        return None

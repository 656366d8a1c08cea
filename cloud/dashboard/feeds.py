"""Feeds by what they are about: one for each choice of cell and time that somebody looks at."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from nicegui import ui

from cloud.dashboard.feed import Feed

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

MAX_FEEDS = 64


class Feeds(Generic[Key, Value]):
    """Makes a feed for each key and forgets those that nobody asked for longest.

    Args:
        fetch: Reads the value of a key; it blocks.
        period_s: Shortest time between two reads of one key.
    """

    def __init__(self, fetch: Callable[[Key], Value], *, period_s: float) -> None:
        self._fetch = fetch
        self._period_s = period_s
        self._feeds: OrderedDict[Key, Feed[Value]] = OrderedDict()

    def feed(self, key: Key) -> Feed[Value]:
        """The feed of a key."""
        if key not in self._feeds:
            self._feeds[key] = Feed(lambda: self._fetch(key), period_s=self._period_s)
            while len(self._feeds) > MAX_FEEDS:
                self._feeds.popitem(last=False)
        self._feeds.move_to_end(key)
        return self._feeds[key]


class Follower(Generic[Key, Value]):
    """Follows one feed at a time on a page, and can be sent to another.

    Args:
        feeds: Where feeds come from.
        key: What to follow first.
        show: Takes each new value.
    """

    def __init__(
        self, feeds: Feeds[Key, Value], key: Key, show: Callable[[Value], None], *, period_s: float
    ) -> None:
        self._feeds = feeds
        self._key = key
        self._show = show
        self._seen: tuple[Key, int] | None = None
        ui.timer(period_s / 2, self.look)

    async def follow(self, key: Key) -> None:
        """Show another value from now on."""
        self._key = key
        await self.look()

    async def look(self) -> None:
        """Show the newest value where it is a new one."""
        key = self._key
        feed = self._feeds.feed(key)
        await feed.refresh()
        if key != self._key or feed.value is None or self._seen == (key, feed.revision):
            return
        self._seen = (key, feed.revision)
        self._show(feed.value)

    def expire(self) -> None:
        """Read again at the next look."""
        self._feeds.feed(self._key).expire()

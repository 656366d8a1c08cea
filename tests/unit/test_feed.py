"""One query for all browsers: who looks sees what was changed before."""

import asyncio
import threading

from cloud.dashboard.feed import Feed

LONG_S = 3600.0


class Ledger:
    """A query that says when it has begun, and waits to be let go on where that was asked for."""

    def __init__(self) -> None:
        self.content = "old"
        self.num_reads = 0
        self.is_broken = False
        self.has_read = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()

    def read(self) -> str:
        self.num_reads += 1
        if self.is_broken:
            raise RuntimeError("no such table")
        content = self.content
        self.has_read.set()
        assert self.may_answer.wait(10)
        return content


async def _begun(ledger: Ledger) -> None:
    assert await asyncio.to_thread(ledger.has_read.wait, 10)


def test_a_second_look_within_the_period_costs_nothing() -> None:
    ledger = Ledger()

    async def look_twice() -> None:
        feed = Feed(ledger.read, period_s=LONG_S)
        await feed.refresh()
        await feed.refresh()
        assert feed.value == "old"

    asyncio.run(look_twice())
    assert ledger.num_reads == 1


def test_what_changes_while_the_query_runs_is_read_at_the_next_look() -> None:
    ledger = Ledger()
    ledger.may_answer.clear()

    async def change_meanwhile() -> None:
        feed = Feed(ledger.read, period_s=LONG_S)
        running = asyncio.create_task(feed.refresh())
        await _begun(ledger)
        ledger.content = "new"
        feed.expire()
        ledger.may_answer.set()
        await running
        assert feed.value == "old"
        await feed.refresh()
        assert feed.value == "new"

    asyncio.run(change_meanwhile())


def test_who_comes_while_the_query_runs_waits_for_its_answer() -> None:
    ledger = Ledger()
    ledger.may_answer.clear()

    async def come_later() -> None:
        feed = Feed(ledger.read, period_s=LONG_S)
        running = asyncio.create_task(feed.refresh())
        await _begun(ledger)
        second = asyncio.create_task(feed.refresh())
        await asyncio.sleep(0)
        assert not second.done()
        ledger.may_answer.set()
        await second
        assert feed.value == "old"
        await running

    asyncio.run(come_later())
    assert ledger.num_reads == 1


def test_a_query_that_fails_leaves_the_old_value_and_says_so() -> None:
    ledger = Ledger()

    async def fail() -> None:
        feed = Feed(ledger.read, period_s=0.0)
        await feed.refresh()
        ledger.is_broken = True
        await feed.refresh()
        assert feed.value == "old"
        assert "log" in feed.problem

    asyncio.run(fail())

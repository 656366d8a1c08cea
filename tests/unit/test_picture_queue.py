"""Who gets the next picture over HTTP."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
import pytest

from edge_agent.errors import NotReadyError
from edge_agent.inspection_ports import PictureRequest
from edge_agent.picture_queue import PictureJob, PictureQueue
from edge_agent.ports import CycleOutcome
from models.contract.recipe import Recipe, View


def eventually(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 5
    while not is_so():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(0.001)


RECIPE = Recipe(
    recipe_id="plate",
    version=1,
    part_type="plate",
    image_width_px=64,
    image_height_px=64,
    views=(View(),),
)


def put(queue: PictureQueue, name: str = "part") -> "Future[CycleOutcome]":
    request = PictureRequest(lambda: np.zeros((8, 8, 3), np.uint8), name)
    return queue.put(request, RECIPE, RECIPE.views[0], arrived_ns=0)


class Taker:
    """A thread that takes one picture after the other and holds each until it is told."""

    def __init__(self, queue: PictureQueue, rank: int) -> None:
        self.taken: list[str] = []
        self._queue = queue
        self._rank = rank
        self._may_go_on = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        self._may_go_on.release()

    def waits_with(self, name: str) -> None:
        eventually(lambda: self.taken[-1:] == [name])

    def join(self) -> bool:
        self._thread.join(5)
        return not self._thread.is_alive()

    def _run(self) -> None:
        job: PictureJob | None
        while (job := self._queue.take(rank=self._rank)) is not None:
            self.taken.append(job.request.part_id)
            self._may_go_on.acquire()


def test_pictures_one_by_one_all_go_to_the_first() -> None:
    queue = PictureQueue(4)
    second, first = Taker(queue, 1), Taker(queue, 0)
    for name in [f"P{number}" for number in range(20)]:
        eventually(lambda: queue._idle == {0, 1})
        put(queue, name)
        first.waits_with(name)
        first.finish()
    assert second.taken == []
    queue.close(NotReadyError("the end"))
    assert first.join()
    assert second.join()


def test_the_second_takes_what_the_first_has_no_time_for() -> None:
    queue = PictureQueue(4)
    second, first = Taker(queue, 1), Taker(queue, 0)
    eventually(lambda: queue._idle == {0, 1})
    put(queue, "P0")
    eventually(lambda: first.taken == ["P0"])
    put(queue, "P1")
    eventually(lambda: second.taken == ["P1"])
    put(queue, "P2")
    first.finish()
    eventually(lambda: first.taken == ["P0", "P2"])


def test_two_at_once_go_to_both() -> None:
    queue = PictureQueue(4)
    put(queue, "P0")
    put(queue, "P1")
    first, second = Taker(queue, 0), Taker(queue, 1)
    eventually(lambda: len(first.taken) == len(second.taken) == 1)


def test_nothing_comes_in_time() -> None:
    assert PictureQueue(4).take(0.01) is None


def test_who_has_gone_away_is_passed_over() -> None:
    queue = PictureQueue(4)
    gone = put(queue, "P0")
    put(queue, "P1")
    assert gone.cancel()
    job = queue.take()
    assert job is not None
    assert job.request.part_id == "P1"


def test_whoever_waits_is_sent_away_at_the_end() -> None:
    queue = PictureQueue(4)
    waiting = put(queue)
    queue.close(NotReadyError("the end"))
    with pytest.raises(NotReadyError):
        waiting.result(0)
    assert queue.take() is None

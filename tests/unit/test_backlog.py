"""What waits between the network thread and the writer."""

import threading

from cloud.backlog import Backlog


def take(backlog: Backlog[int], most: int) -> list[int]:
    return backlog.take(most, idle_s=0.0, lull_s=0.0, wait_s=0.0)


def test_items_come_out_in_batches_in_the_order_that_they_came() -> None:
    backlog: Backlog[int] = Backlog(100)
    backlog.put([1, 2, 3], timeout_s=0.0)
    backlog.put([4, 5], timeout_s=0.0)
    assert [take(backlog, 4), take(backlog, 4), take(backlog, 4)] == [[1, 2, 3, 4], [5], []]


def test_who_brings_more_than_there_is_room_for_is_held_up_and_told() -> None:
    backlog: Backlog[int] = Backlog(2)
    assert backlog.put([1, 2, 3], timeout_s=0.0)
    assert not backlog.put([4], timeout_s=0.01)
    helper = threading.Timer(0.01, take, (backlog, 3))
    helper.start()
    assert backlog.put([5], timeout_s=20.0)
    helper.join()
    assert take(backlog, 9) == [5]


def test_a_batch_waits_for_what_follows_at_once() -> None:
    backlog: Backlog[int] = Backlog(100)
    backlog.put([1], timeout_s=0.0)
    helper = threading.Timer(0.01, backlog.put, ([2, 3],), {"timeout_s": 0.0})
    helper.start()
    assert backlog.take(3, idle_s=0.0, lull_s=20.0, wait_s=20.0) == [1, 2, 3]
    helper.join()

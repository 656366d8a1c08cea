"""Background work stands back while a part is judged, but never for ever."""

import threading
import time

from edge_agent.right_of_way import MAX_PAUSE_S, RightOfWay

WAIT_S = 5.0


def test_background_work_waits_for_the_verdict() -> None:
    way = RightOfWay()
    done: list[str] = []
    way.take()
    asked = threading.Event()

    def record() -> None:
        asked.set()
        way.give_way()
        done.append("record")

    thread = threading.Thread(target=record)
    thread.start()
    assert asked.wait(WAIT_S)
    done.append("verdict")
    way.release()
    thread.join(WAIT_S)
    assert done == ["verdict", "record"]


def test_nobody_waits_longer_than_the_limit_for_a_part_that_hangs() -> None:
    way = RightOfWay()
    way.take()
    before = time.monotonic()
    way.give_way()
    assert MAX_PAUSE_S * 0.9 <= time.monotonic() - before < WAIT_S


def test_nobody_waits_between_two_parts() -> None:
    way = RightOfWay()
    way.take()
    way.release()
    before = time.monotonic()
    for _ in range(1000):
        way.give_way()
    assert time.monotonic() - before < MAX_PAUSE_S * 10


def test_long_work_begins_right_after_a_verdict() -> None:
    way = RightOfWay()
    order: list[str] = []

    def load_model() -> None:
        way.after_verdict(WAIT_S)
        order.append("load")

    way.take()
    thread = threading.Thread(target=load_model)
    thread.start()
    order.append("verdict")
    while thread.is_alive():  # whenever it came to wait, the next verdict lets it go
        way.take()
        way.release()
        thread.join(0.001)
    assert order == ["verdict", "load"]


def test_long_work_begins_on_a_line_at_rest_too() -> None:
    way = RightOfWay()
    way.after_verdict(0.01)


def test_who_waited_in_vain_works_on_for_a_while() -> None:
    way = RightOfWay()
    way.take()
    begin = time.monotonic()
    for _ in range(100):
        way.give_way()
    assert time.monotonic() - begin < 20 * MAX_PAUSE_S, "not once for each piece of work"

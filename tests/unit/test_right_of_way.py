"""Background work stands back while a part is judged, but never for ever."""

import subprocess
import sys
import threading
import time
from pathlib import Path

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


def beside_an_even_line(now_s: float) -> RightOfWay:
    """A part came every 100 ms, the last one at 10.4 s; it is ``now_s``."""
    times_s = [10.0, 10.1, 10.2, 10.3, 10.4]
    way = RightOfWay(lambda: times_s.pop(0) if times_s else now_s)
    for _ in range(5):
        way.take()
        way.release()
    return way


def test_work_that_would_run_into_the_next_part_waits_for_its_verdict() -> None:
    way = beside_an_even_line(now_s=10.48)
    before = time.monotonic()
    way.give_way(0.005)
    assert time.monotonic() - before < MAX_PAUSE_S * 0.5, "there is time for this"
    way.give_way(0.05)
    assert time.monotonic() - before >= MAX_PAUSE_S * 0.5


def test_process_beside_the_line_stands_still_while_a_part_is_judged() -> None:
    way = RightOfWay()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        with way.beside(process):
            way.take()
            assert state_of(process, "T") == "T", "stopped"
            way.release()
            assert state_of(process, "S") in {"S", "R"}, "goes on"
            way.take()
        assert state_of(process, "S") in {"S", "R"}, "not stopped for good"
        process.kill()


def state_of(process: "subprocess.Popen[bytes]", wanted: str) -> str:
    """Its letter in /proc, once it is the wanted one or time is up."""
    stat = Path(f"/proc/{process.pid}/stat")
    end_s = time.monotonic() + WAIT_S
    while (state := stat.read_text().rsplit(")", 1)[1].split()[0]) != wanted:
        if time.monotonic() > end_s:
            break
        time.sleep(0.001)
    return state

"""What of the processor a thread asks for."""

import os
import threading
from collections.abc import Callable

import pytest

from edge_agent.priority import be_patient, keep_apart

Asked = tuple[set[int], int, int]


def on_a_thread(work: Callable[[], None]) -> Asked:
    """Cores, policy and niceness of a thread after it has asked."""
    found: list[Asked] = []

    def run() -> None:
        work()
        own = threading.get_native_id()
        policy = os.sched_getscheduler(0)
        found.append((os.sched_getaffinity(0), policy, os.getpriority(os.PRIO_PROCESS, own)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(5)
    return found[0]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only on Linux")
def test_what_can_wait_and_what_is_waited_for_share_no_core() -> None:
    cores = os.sched_getaffinity(0)
    patient, policy, niceness = on_a_thread(be_patient)
    apart, _, own_niceness = on_a_thread(keep_apart)
    assert patient | apart == cores
    assert not patient & apart or len(cores) == 1
    assert policy == os.SCHED_BATCH
    assert niceness == min(own_niceness + 5, 19)
    assert os.sched_getaffinity(0) == cores, "other threads go where they like"

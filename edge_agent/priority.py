"""What of the processor the agent's work gets: the line's part first, then the rest."""

import os
import sys
import threading
from contextlib import suppress

import cv2

NICENESS = 10
BACKGROUND_NICENESS = 5
"""Of what is done after a verdict, and of pictures over HTTP."""
SWITCH_INTERVAL_S = 0.0001
"""A thread that computes gives way this often; Python's 5 ms would be added to a verdict."""


def share_the_interpreter() -> None:
    """Once in a process that judges parts: no thread keeps the others waiting for long."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # OpenCV would share out each small step over all cores, the model's among them.
    cv2.setNumThreads(1)


def be_modest(niceness: int = NICENESS) -> None:
    """Let this thread compute after the others.

    Not more than that: a thread that gets no processor while it holds the interpreter would hold
    up the part, too. What holds it for long waits for a verdict instead (`RightOfWay`).
    """
    own = threading.get_native_id()
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, own, os.getpriority(os.PRIO_PROCESS, own) + niceness)


def be_patient() -> None:
    """Let this thread do what comes after a verdict: on half of the cores, when it is its turn.

    On a machine with few cores Linux often wakes a thread on the very core that works on a part,
    and lets it begin there at once while another core is idle.
    """
    be_modest(BACKGROUND_NICENESS)
    with suppress(OSError, AttributeError):
        # On a real-time policy, which a service unit may have set, it would lose its share.
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with suppress(OSError, AttributeError):
        os.sched_setaffinity(0, _cores()[1])


def keep_apart() -> None:
    """Keep this thread off the cores of the patient ones."""
    with suppress(OSError, AttributeError):
        os.sched_setaffinity(0, _cores()[0])


def be_a_modest_process() -> None:
    """Let this process and its threads to come compute after the others, but surely some day.

    And on half of the cores: whoever wakes up for a part finds one that need not be vacated first.

    Not SCHED_IDLE: beside a program that wants every core, a check would run into its time limit.
    """
    be_modest()
    # Off a real-time policy that a service unit may have set: there niceness counts for nothing.
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with suppress(OSError, AttributeError):
        os.sched_setaffinity(0, _cores()[1])


def _cores() -> tuple[list[int], list[int]]:
    """Half of the cores for what is waited for, half for what can wait; one core is for both."""
    cores = sorted(os.sched_getaffinity(0))
    half = len(cores) // 2
    return cores[:half] or cores, cores[half:]

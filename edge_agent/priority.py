"""What of the processor the agent's work gets: the line's part first, then the rest."""

import os
import threading
from contextlib import suppress

NICENESS = 10


def be_modest(niceness: int = NICENESS) -> None:
    """Let this thread compute after the others.

    Not more than that: a thread that gets no processor while it holds the interpreter would hold
    up the part, too. What holds it for long waits for a verdict instead (`RightOfWay`).
    """
    own = threading.get_native_id()
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, own, os.getpriority(os.PRIO_PROCESS, own) + niceness)


def be_a_modest_process() -> None:
    """Let this process and its threads to come compute after the others, but surely some day.

    Not SCHED_IDLE: beside a program that wants every core, a check would run into its time limit.
    """
    be_modest()
    # Off a real-time policy that a service unit may have set: there niceness counts for nothing.
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))

"""What Spark says when a task fails, put into one line."""

import re

# Java's and Python's words for a process that is gone, and TensorFlow's for a peer that is.
LOST_WORKER_SIGNS = (
    "Python worker exited unexpectedly",
    "Python worker failed to connect back",
    "ExecutorLostFailure",
    "Connection reset",
    # A machine that is busy beyond measure: Java did not answer a worker within its 15 seconds.
    "CANNOT_OPEN_SOCKET",
    "UnavailableError",
    "Collective ops is aborted",
    "AbortedError",
    "CancelledError",
)
# The operating system's words, the same from Java, Python and TensorFlow.
FULL_DISK_SIGN = "No space left on device"
FULL_DISK_ADVICE = (
    "a disk is full, the one of the results or the one of Spark's temporary files: free some space"
    " and give the same command again (a fit goes on with --resume)"
)
# The last line of a Python traceback: an exception's name, perhaps dotted, and its text.
_PYTHON_ERROR = re.compile(
    r"^((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Interrupt)): (.+)$"
)
_MAX_LENGTH = 300


def is_lost_worker(error: BaseException) -> bool:
    """Whether a worker died or lost its peers, so that a new start from a checkpoint can help."""
    text = str(error)
    # A full disk brings the others down as well; a new start would end the same way.
    return FULL_DISK_SIGN not in text and any(sign in text for sign in LOST_WORKER_SIGNS)


def one_line(error: BaseException) -> str:
    """The cause of a failed job: the Python exception inside it, else the first line."""
    if FULL_DISK_SIGN in str(error):
        return FULL_DISK_ADVICE
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    found = [match for match in map(_PYTHON_ERROR.match, lines) if match]
    if found:
        name, text = found[-1].groups()
        own = name.startswith("models.") or name in ("ValueError", "RuntimeError")
        return (text if own else f"{name}: {text}")[:_MAX_LENGTH]
    return (lines[0] if lines else type(error).__name__)[:_MAX_LENGTH]

"""How much memory the agent's threads keep for themselves."""

import ctypes
from contextlib import suppress

M_ARENA_MAX = -8
NUM_ARENAS = 2
"""glibc would give a dozen threads a heap each, none of which goes back for the others' use. Over
5,500 parts this kept 1.7 MB more than in the beginning instead of 2.9."""


def share_the_heap() -> None:
    """Once, before there are threads; elsewhere than on glibc nothing happens."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, NUM_ARENAS)

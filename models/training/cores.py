"""Cores that a process may really use: its affinity, and in a container its quota."""

import os
from pathlib import Path

CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(quota_file: Path = CGROUP_QUOTA) -> int:
    """Cores for this process, at least 1.

    A container of Kubernetes sees all cores of its host; only its quota says how much of them it
    gets, and more threads than that stand in each other's way.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = _quota(quota_file)
    return cores if quota is None else max(1, min(cores, round(quota)))


def _quota(path: Path) -> float | None:
    """Cores that the control group allows; None where it does not limit them."""
    try:
        allowed_us, period_us = path.read_text().split()
        return int(allowed_us) / int(period_us)
    except (OSError, ValueError, ZeroDivisionError):
        # No control groups of the second kind, or "max".
        return None

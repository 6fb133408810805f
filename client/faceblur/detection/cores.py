"""How this machine's CPU cores are shared."""

from __future__ import annotations

import os

MAX_INSTANCES = 4
"""Inferences at the same time, at most: as many as files keep in flight."""


def usable_cores() -> int:
    """Cores that this process may use: those of the machine, less what was taken from it."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_share() -> tuple[int, int]:
    """How to use this machine's cores: inferences at the same time, and threads of each.

    Two inferences of one thread finish sooner than two in a row on two threads.
    """
    cores = usable_cores()
    instances = min(cores, MAX_INSTANCES)
    return instances, max(1, cores // instances)

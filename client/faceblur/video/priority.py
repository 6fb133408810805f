"""Threads keep the priority that the program has, whatever an encoder makes of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def kept_priority() -> Iterator[None]:
    """Undo what the opening of an encoder does to the scheduling of threads.

    SVT-AV1 takes real-time priority where it may, as root in a container, for its threads and for
    the one that opens it; all that is started from there inherits it, and nothing else runs beside.
    """
    if sys.platform != "linux":
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != policy:
            for thread in Path("/proc/self/task").iterdir():
                with suppress(OSError):  # it has ended meanwhile
                    os.sched_setscheduler(int(thread.name), policy, parameters)

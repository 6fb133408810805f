"""What the processes of a benchmark use: CPU time, memory, file descriptors, threads."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def tree(root: int | None = None) -> Iterator[int]:
    """A process, this one when None, and all below it."""
    children = defaultdict(list)
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            children[int(_stat(int(folder.name))[1])].append(int(folder.name))
    waiting = [os.getpid() if root is None else root]
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children[pid]


def role(pid: int) -> str:
    """What a process does for a camera."""
    with suppress(OSError):
        line = Path("/proc", str(pid), "cmdline").read_bytes().decode("utf-8", "replace")
        for mark, name in (
            ("source_worker", "source"),
            ("sink_worker", "sink"),
            ("triton", "server"),
        ):
            if mark in line:
                return name
    return "camera"


def cpu_s() -> dict[str, float]:
    """CPU time by role, seconds, of this process and all below it."""
    used: dict[str, float] = defaultdict(float)
    for pid in tree():
        with suppress(OSError):
            fields = _stat(pid)
            used[role(pid)] += (int(fields[11]) + int(fields[12])) / _TICKS
    return dict(used)


def resources() -> dict[str, float]:
    """Memory in MB, file descriptors and threads, of this process and of all processes of it."""
    sums = {"processes": 0.0, "memory_mb": 0.0, "own_memory_mb": 0.0, "own_fds": 0.0,
            "own_threads": 0.0, "fds": 0.0, "threads": 0.0}  # fmt: skip
    for pid in tree():
        with suppress(OSError):
            folder = Path("/proc", str(pid))
            memory = int((folder / "statm").read_text().split()[1]) * _PAGE / 1e6
            fds = len(list((folder / "fd").iterdir()))
            threads = len(list((folder / "task").iterdir()))
            sums["processes"] += 1
            for name, value in (("memory_mb", memory), ("fds", fds), ("threads", threads)):
                sums[name] += value
                if pid == os.getpid():
                    sums[f"own_{name}"] += value
    return sums


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name; the first are the state and the parent."""
    return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()

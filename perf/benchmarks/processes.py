"""What the processes of a benchmark use: CPU time, memory, file descriptors, threads."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from faceblur.live.process.child import WORKER
from faceblur.live.sinks import worker as sink_worker
from faceblur.live.sources import worker as source_worker

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

_WORKERS: Final = {source_worker.__name__: "source", sink_worker.__name__: "sink"}
_SERVER: Final = ("tritonserver", "triton_python_backend_stub")
"""The server's program and its children's."""


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
    """What a process does: camera, source, sink or server.

    Raises:
        LookupError: It is a worker of the cameras, but none that is known here.
    """
    try:
        line = Path("/proc", str(pid), "cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return "camera"
    if WORKER in line:
        for module, name in _WORKERS.items():
            if f"from {module} import" in line:
                return name
        raise LookupError(f"nobody knows what this worker does: {line!r}")
    return "server" if Path(line.split("\0")[0]).name in _SERVER else "camera"


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

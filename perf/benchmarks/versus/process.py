"""Run a program to its end, and measure all of its processes: time, CPU time, memory."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import click

from benchmarks.processes import tree

_PR_SET_CHILD_SUBREAPER: Final = 36
_SAMPLE_S: Final = 0.1


@dataclass(frozen=True)
class Usage:
    """What a program used, all processes that it started included.

    Attributes:
        wall_s: Seconds by the clock, from its start to its end.
        cpu_s: Seconds of CPU.
        peak_mb: Memory at most at any time; pages that several processes share count once. None
            when it was not measured.
        output: What it wrote to stdout and stderr.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float | None
    output: str


def measure(
    command: Sequence[str | Path], *, cores: Collection[int], memory: bool = False
) -> Usage:
    """Run a command on some cores.

    Args:
        command: The program and its arguments.
        cores: The CPUs that it may use.
        memory: Look at its memory too, every tenth of a second; that takes time from it.

    Raises:
        click.ClickException: It failed.
    """
    # In a process of its own: it has no other children, whose end and CPU time it would take for
    # the program's.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as supervisor:
        return supervisor.submit(_measure, [*map(str, command)], [*cores], memory).result()


def _measure(command: list[str], cores: list[int], memory: bool) -> Usage:
    _adopt_orphans()
    os.sched_setaffinity(0, cores)
    before = _children_cpu_s()
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    with _watched(process.pid) if memory else _unwatched() as peak:
        output, _ = process.communicate()
        wall_s = time.perf_counter() - started
    _await_orphans()
    if process.returncode:
        raise click.ClickException(f"{command[0]} failed:\n{output[-2000:]}")
    return Usage(wall_s, _children_cpu_s() - before, peak[0] if memory else None, output)


def _adopt_orphans() -> None:
    """Become the parent of processes whose own parent ends, so that their CPU time is known.

    A server's workers are orphans when it is killed; prctl(2).
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _await_orphans() -> None:
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def _children_cpu_s() -> float:
    """CPU time of all children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def _watched(pid: int) -> Iterator[list[float]]:
    peak, stop = [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(_SAMPLE_S):
            peak[0] = max(peak[0], sum(map(_memory_mb, tree(pid))))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


@contextmanager
def _unwatched() -> Iterator[list[float]]:
    yield [0.0]


def _memory_mb(pid: int) -> float:
    """Proportional set size: what a process has alone, and its part of what it shares; proc(5)."""
    with suppress(OSError):
        for line in Path("/proc", str(pid), "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1e3
    return 0.0

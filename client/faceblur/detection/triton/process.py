"""The process of a tritonserver: how it is started, bounded and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launcher.py")


def start(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    file_bytes: int,
    is_traced: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a program that ends with this process, in a group and a session of its own.

    Args:
        command: The program and its arguments.
        environment: All of it.
        log: File for what it writes.
        file_bytes: Bound of each file that it makes, regions of shared memory among them.
        is_traced: It stops at its first instruction; see `hidden_argument.place`.
    """
    how = ("traced" if is_traced else "free", str(os.getpid()))
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(LAUNCHER), *how, *command],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            # A Ctrl-C in the terminal is for us; we end the server in order.
            start_new_session=True,
        )
    _limit_files(process.pid, file_bytes)
    return process


def end(process: subprocess.Popen[bytes], *, grace_s: float) -> None:
    """End a process and its children; it gets `grace_s` to do so by itself."""
    if grace_s and process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=grace_s)
    # Its stubs share its session; none may outlive it.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _limit_files(pid: int, byte_size: int) -> None:
    """Bound each file of a process and its children, regions of shared memory among them.

    A Python backend's region grows with what it is sent, and never shrinks. What does not fit is
    an error of the request, for Python has the launcher ignore the signal that comes with it.
    """
    if sys.platform == "linux":
        import resource  # other systems do not have it

        with contextlib.suppress(OSError, ValueError):  # it has ended, or less is allowed anyway
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (byte_size, byte_size))

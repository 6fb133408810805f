"""A command line argument that other users of the machine cannot read.

Every user may read `/proc/PID/cmdline`, and tritonserver takes a key nowhere else. So it is started
with a placeholder, stopped before its first instruction, and pointed at the value in its
environment, which is open to its own user alone. There is no moment at which others could read it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from pathlib import Path
from typing import Final

VARIABLE: Final = "FACEBLUR_HIDDEN_ARGUMENT"
"""Holds the whole argument in the environment of the process."""

PLACEHOLDER: Final = "--faceblur-hidden-argument"
"""Stands in its place on the command line; no program knows it."""

_CONTINUE, _DETACH = 7, 17
# Fields of /proc/PID/stat, counted after the name, from the third on.
_START_STACK, _ENV_START, _ENV_END = 28 - 3, 50 - 3, 51 - 3


def place(pid: int) -> bool:
    """Give the argument to a child that stops at its start; whether it runs now, or has ended.

    To be called by the thread that started it, traced, with `PLACEHOLDER` and `VARIABLE`: no other
    thread may.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    while True:
        how = os.waitid(os.P_PID, pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
        if how is None or how.si_code not in (os.CLD_TRAPPED, os.CLD_STOPPED):
            return False
        how = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG)
        if how is None or how.si_code == os.CLD_STOPPED:
            continue  # somebody else has stopped it on its way, and lets it go on
        if how.si_status == signal.SIGTRAP:
            break
        libc.ptrace(_CONTINUE, pid, None, None)
    try:
        _point_at_environment(pid)
    except (OSError, ValueError):
        os.kill(pid, signal.SIGKILL)
        return False
    return bool(libc.ptrace(_DETACH, pid, None, None) == 0)


def _point_at_environment(pid: int) -> None:
    fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    stack, start, end = (int(fields[at]) for at in (_START_STACK, _ENV_START, _ENV_END))
    word = struct.calcsize("P")
    with Path("/proc", str(pid), "mem").open("r+b", buffering=0) as memory:

        def read(at: int, size: int) -> bytes:
            memory.seek(at)
            return memory.read(size)

        # What the kernel lays out: the count, then a pointer to each argument.
        count = int.from_bytes(read(stack, word), "little")
        pointers = struct.unpack(f"{count}P", read(stack + word, count * word))
        wanted = PLACEHOLDER.encode() + b"\0"
        index = [read(at, len(wanted)) for at in pointers].index(wanted)
        value = start + read(start, end - start).index(f"{VARIABLE}=".encode())
        memory.seek(stack + word * (1 + index))
        memory.write(struct.pack("P", value + len(VARIABLE) + 1))

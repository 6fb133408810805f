"""Becomes the program that its arguments name, bound to the life of the process that starts it.

Run as a script, by itself: `launcher.py free|traced PARENT_PID PROGRAM ARGUMENT...`;
when `traced`, it stops at the program's first instruction for its parent. What it sets up survives
exec and is inherited by all children:

- Linux ends the program when its parent dies, however that happens.
- When the program dies, all of its group is ended: Triton's Python processes, with the images in
  their memory, would outlive it.
- Files are made for their owner alone. Triton's Python backend opens its shared memory, which holds
  unmasked images, to every user of the machine, with fchmod, past the umask: that call does
  nothing here.
- A crash writes no memory to the disk.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import struct
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_PTRACE_TRACEME: Final = 0
_SET_MODE_FILTER: Final = 1
_SPEC_ALLOW: Final = 4
"""Else older kernels slow the program down, against attacks by code that it does not run."""

_CALLS: Final = {"x86_64": (0xC000003E, 317, 91), "aarch64": (0xC00000B7, 277, 52)}
"""By machine: its audit number, and the numbers of seccomp and fchmod."""


def main() -> None:
    """Set up this process, then become the program."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(sys.argv[2]):
        sys.exit(1)
    os.umask(0o077)
    dump_nothing()
    _disable_fchmod(libc)
    _end_session_with(libc, os.getpid())
    if sys.argv[1] == "traced" and libc.ptrace(_PTRACE_TRACEME, 0, 0, 0) != 0:
        sys.exit(1)
    os.execv(sys.argv[3], sys.argv[3:])


def dump_nothing() -> None:
    """Keep the memory of this process and its children out of core dumps, where Linux is asked."""
    with contextlib.suppress(OSError):
        fd = os.open("/proc/self/coredump_filter", os.O_WRONLY)
        os.write(fd, b"0")
        os.close(fd)


def _end_session_with(libc: ctypes.CDLL, pid: int) -> None:
    """Leave a child that waits for the end of this process, and ends its group then."""
    if os.getpgrp() != pid:
        return  # others are in it
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    if os.fork() == 0:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGUSR1)
        while os.getppid() == pid:
            signal.sigtimedwait([signal.SIGUSR1], 60)
        os.killpg(0, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])


def _disable_fchmod(libc: ctypes.CDLL) -> None:
    """Have fchmod say that it is done. Where the system has no such filter nothing changes."""
    if platform.machine() not in _CALLS:
        return
    machine, seccomp, fchmod = _CALLS[platform.machine()]
    rules = [
        (0x20, 0, 0, 4),  # load the machine
        (0x15, 0, 3, machine),  # another one: allow
        (0x20, 0, 0, 0),  # load the number of the call
        (0x15, 0, 1, fchmod),  # another one: allow
        (0x06, 0, 0, 0x00050000),  # return error 0, which is none
        (0x06, 0, 0, 0x7FFF0000),  # allow
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
    program = ctypes.create_string_buffer(
        struct.pack("HP", len(rules), ctypes.addressof(code))  # struct sock_fprog
    )
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.syscall(
        ctypes.c_long(seccomp),
        ctypes.c_ulong(_SET_MODE_FILTER),
        ctypes.c_ulong(_SPEC_ALLOW),
        ctypes.byref(program),
    )


if __name__ == "__main__":
    main()

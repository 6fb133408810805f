"""Say in a name which process something belongs to, and whether that process is gone."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
from pathlib import Path
from typing import Final

PATTERN: Final = (
    r"(?P<host>[0-9a-f]{8})-(?P<boot>[0-9a-f]{8})-(?P<space>\d+)-(?P<pid>\d+)-(?P<start>\d+)"
)
"""What `own_mark` gives, as a regular expression."""

_PROC: Final = Path("/proc")


def own_mark() -> str:
    """The mark of this process: its machine's name, system start, process id space, id, start time.

    An id alone is given to another process some day, and one container counts as another does.
    Where the system does not tell, the parts are 0.
    """
    pid = os.getpid()
    return f"{_host()}-{_boot()}-{_space()}-{pid}-{_start(pid) or 0}"


def is_gone(mark: str) -> bool:
    """Whether the process of a mark is surely no more.

    That of another container cannot be seen from here and counts as alive, and so does that of a
    machine with another name: several may share a folder. None is alive since before this one was
    started.
    """
    match = re.fullmatch(PATTERN, mark)
    if match is None or not _PROC.joinpath("self").exists():
        return False
    if match["boot"] != _boot():
        return match["host"] == _host()
    if match["space"] != _space():
        return False
    return _start(int(match["pid"])) != int(match["start"])


def _start(pid: int) -> int | None:
    """When a process began, in clock ticks since the system did; None when it has ended."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    # A zombie has given up its memory already; only its parent has not asked for it yet.
    return None if fields[0] in "ZX" else int(fields[19])


@functools.cache
def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


@functools.cache
def _boot() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return "0" * 8


@functools.cache
def _space() -> str:
    try:
        return str((_PROC / "self/ns/pid").stat().st_ino)
    except OSError:
        return "0"

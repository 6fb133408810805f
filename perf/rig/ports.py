"""Ports that nobody else takes between now and when somebody listens there."""

from __future__ import annotations

import itertools
import os
import socket
import time
from pathlib import Path
from typing import Final

from faceblur.detection.triton import ports

_LOOPBACK: Final = "127.0.0.1"
_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST: Final = 20_000
"""Below are those of well-known programs, and of the workers of Ray."""
_TAKEN: Final = ("0A", "01")
"""States of sockets in /proc/net/tcp: listening, and connected, where that ends the listening."""

_kept: list[socket.socket] = []
_next = itertools.count(os.getpid() * 64)


def free_port() -> int:
    """A port of this machine that stays this process's own, and is given out once.

    The system gives none of these ports to who asks for any, and the name of a socket keeps it
    from others that ask here. Where neither works, it is a port that is free now.
    """
    try:
        end = int(_RANGE.read_text().split()[0])
    except (OSError, ValueError):
        end = 0
    for number in itertools.islice(_next, max(0, end - _LOWEST)):
        port = _LOWEST + number % (end - _LOWEST)
        mark = socket.socket(socket.AF_UNIX)
        try:
            mark.bind(f"\\0faceblur-port-{port}")
        except OSError:
            mark.close()
            continue
        _kept.append(mark)
        if ports.port_is_free(_LOOPBACK, port):
            return port
    return ports.free_port(_LOOPBACK)


def until_listening(address: str, *, timeout_s: float = 60.0) -> None:
    """Wait until somebody listens at a port of this machine, and do not connect to find out.

    Args:
        address: Ends in the port, or has it before a path.
        timeout_s: For how long.

    Raises:
        TimeoutError: Nobody does.
    """
    port = int(address.rpartition("//")[2].partition("/")[0].rpartition(":")[2])
    deadline_s = time.monotonic() + timeout_s
    while not _is_listening(port):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"nobody listens at {port}")
        time.sleep(0.02)


def _is_listening(port: int) -> bool:
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        rows = table.read_text().splitlines()[1:] if table.exists() else ()
        for local, _, state in (row.split()[1:4] for row in rows):
            if state in _TAKEN and int(local.rpartition(":")[2], 16) == port:
                return True
    return False

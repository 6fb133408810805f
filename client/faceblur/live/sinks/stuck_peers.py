"""Notice a peer that is connected and does not read: the system would wait for a quarter hour."""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path
from typing import Final

_FDS: Final = Path("/proc/self/fd")


def limit_silence(timeout_s: float) -> None:
    """Have every TCP connection of this process end when its peer takes nothing for so long.

    FFmpeg does not hand out its sockets, so all of them are searched. Does nothing but on Linux.
    """
    if sys.platform != "linux":
        return
    for path in list(_FDS.iterdir()):
        fd = int(path.name)
        try:
            if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                continue
            with socket.socket(fileno=os.dup(fd)) as found:
                is_internet = found.family in (socket.AF_INET, socket.AF_INET6)
                if is_internet and found.type == socket.SOCK_STREAM:
                    found.setsockopt(
                        socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * timeout_s)
                    )
        except OSError:
            # It was closed meanwhile, as the one is that lists the folder.
            continue

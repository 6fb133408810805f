"""A claim on a file, which ends with its process, however that ends.

It is a lock of the system, so other containers see it too, and other machines on most network file
systems. It lies far behind the end of the file: some of those keep others from what is locked.
"""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path
from typing import Final

if sys.platform == "linux":
    import fcntl

_PLACE: Final = 1 << 62


def claim(fd: int) -> bool | None:
    """Claim an open file until its descriptor is closed.

    Args:
        fd: Open for writing.

    Returns:
        Whether it is ours; False if somebody else has claimed it, None where the system knows no
        claims.
    """
    if sys.platform != "linux":
        return None
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, _PLACE, 1, 0)  # struct flock
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, lock)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


def remove_abandoned(path: Path) -> bool | None:
    """Remove a file if nobody claims it any more.

    Returns:
        Whether it was removed; None where that cannot be told.

    Raises:
        OSError: It cannot be removed.
    """
    if sys.platform != "linux":
        return None
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        is_ours = claim(fd)
        if is_ours:
            # While it is ours: whoever has just made it sees that it is gone when he claims it.
            path.unlink(missing_ok=True)
        return is_ours
    finally:
        os.close(fd)

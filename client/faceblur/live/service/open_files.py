"""How many files this process may have open at once, and how many cameras need."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from faceblur.errors import FaceblurError
from faceblur.live.options import CameraOptions

_BASE: Final = 32
"""For the server, the status page and its readers, logs and libraries."""
_PER_CAMERA: Final = 2
_PER_CHILD: Final = 3
"""Of each source and sink: its messages and its memory."""


def files_of(cameras: Sequence[CameraOptions]) -> int:
    """Files that cameras have open at once, about."""
    return _BASE + sum(_PER_CAMERA + _PER_CHILD * (1 + len(c.sinks)) for c in cameras)


def make_room(cameras: Sequence[CameraOptions]) -> None:
    """See to it that so many files may be open.

    Raises:
        FaceblurError: They may not, and only who started this can change it.
    """
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = files_of(cameras)
    if soft == resource.RLIM_INFINITY or count <= soft:
        return
    if hard != resource.RLIM_INFINITY and count > hard:
        number = len(cameras)
        raise FaceblurError(
            f"{number} camera{'s need' if number != 1 else ' needs'} about {count} open files, and "
            f"only {hard} are allowed here: raise it with ulimit -n 4096, or with LimitNOFILE=4096 "
            "in the service"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))

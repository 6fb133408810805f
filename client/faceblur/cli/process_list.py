"""Hide credentials on the command line from the process list.

Not by setproctitle: it renames the process after its interpreter, so that nobody finds `faceblur`
by name any more, and joins all arguments into one.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from pathlib import Path
from typing import Final

from faceblur.redaction import redact, redact_address

logger = logging.getLogger(__name__)

_ARG_START: Final = 47
_ARG_END: Final = 48
"""Fields of /proc/self/stat, counted from 0; see proc(5)."""


def hide_credentials() -> None:
    """Overwrite addresses among this program's arguments, as other users see them, with redacted.

    They can be seen for the moment that the program takes to get here. Elsewhere than on Linux
    this does nothing.
    """
    if sys.platform != "linux":
        return
    try:
        arguments = Path("/proc/self/cmdline").read_bytes()
        # The name of the program, in brackets, may hold spaces.
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = (int(fields[index - 2]) for index in (_ARG_START, _ARG_END))
    except (OSError, ValueError, IndexError) as error:
        logger.debug("cannot hide arguments: %s", error)
        return
    shown = b"\0".join(_redact_argument(text) for text in arguments.split(b"\0"))
    size = end - start
    if shown != arguments and 0 < size == len(arguments):
        ctypes.memmove(start, shown.ljust(size, b"\0")[:size], size)


def _redact_argument(argument: bytes) -> bytes:
    # Names of files need not be UTF-8.
    text = os.fsdecode(argument)
    # An argument holds one address at most, so what is odd in a password does not end it.
    return os.fsencode(redact(redact_address(text) if "://" in text else text))

"""What servers leave on this machine when they are killed, and its removal."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Final

from faceblur.detection.triton.shared_memory import remove_abandoned_regions
from faceblur.owners import PATTERN, is_gone

FOLDER_PREFIX = "faceblur-triton"
_OURS = re.compile(rf"{FOLDER_PREFIX}-(?P<owner>{PATTERN})-.*")

PACKAGES_FOLDER: Final = Path("/tmp")
"""Triton's Python backend makes a folder here, whatever TMPDIR says, for the packages of models
that bring some. Ours bring none. A server that ends in order removes it, which takes three
seconds."""

_ENVIRONMENTS: Final = "python_env_*"


def execution_environments() -> frozenset[Path]:
    """Folders that Python backends of this machine have made for packages."""
    return frozenset(PACKAGES_FOLDER.glob(_ENVIRONMENTS))


def remove_execution_environment(made: frozenset[Path]) -> None:
    """Remove the folder that a server has made, which appeared while it started.

    Where there are several, another Triton server started at the same time, and nobody can tell
    whose is whose: they stay.
    """
    if len(made) == 1:
        with contextlib.suppress(OSError):  # in use, or another user's
            next(iter(made)).rmdir()


def remove_leftovers() -> None:
    """End and remove what is left of servers that were killed, or whose parent was."""
    remove_abandoned_regions()
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}-*"):
        match = _OURS.fullmatch(folder.name)
        if match and is_gone(match["owner"]):
            _end_stubs(folder)
            shutil.rmtree(folder, ignore_errors=True)


def _end_stubs(folder: Path) -> None:
    """End the Python stubs that were started from a folder: they outlive a killed server."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if (process / "cmdline").read_bytes().startswith(os.fsencode(f"{folder}/")):
                os.kill(int(process.name), signal.SIGKILL)

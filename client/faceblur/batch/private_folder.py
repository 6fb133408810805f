"""A private folder for what is not masked yet, which disappears with the program, or after it."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from faceblur.errors import OutputError
from faceblur.owners import PATTERN, is_gone, own_mark

logger = logging.getLogger(__name__)

PREFIX: Final = "faceblur-private"
_OURS: Final = re.compile(rf"{PREFIX}-(?P<owner>{PATTERN})-.*")


class PrivateFolder:
    """A folder that only this user can read; a context manager, which removes it.

    Removes what programs that were killed left behind, too.

    Raises:
        OutputError: It cannot be made.
    """

    def __init__(self) -> None:
        remove_abandoned()
        try:
            # Mode 0700, whatever the umask is.
            self.path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}-{own_mark()}-"))
        except OSError as error:
            raise OutputError(
                f"cannot make a folder in {tempfile.gettempdir()}: {error.strerror}; set TMPDIR to "
                "one you may write to"
            ) from error

    def __enter__(self) -> PrivateFolder:
        return self

    def __exit__(self, *exc_info: object) -> None:
        remove(self.path)


def remove_abandoned() -> None:
    """Remove the folders of programs that are no more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}-*"):
        match = _OURS.fullmatch(folder.name)
        if match and is_gone(match["owner"]):
            logger.info("removing %s, left by a run that was killed", folder)
            remove(folder)


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it; what stays behind is said."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        logger.warning("cannot remove %s: it holds unmasked files, delete it yourself", folder)

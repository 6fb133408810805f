"""The shared memory between a server and its Python stubs, as far as it has names."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from faceblur.detection.triton.shared_memory import SHM_FOLDER
from faceblur.owners import own_mark

logger = logging.getLogger(__name__)

SHM_PREFIX = "faceblur_triton"


def _new_prefix() -> str:
    return f"{SHM_PREFIX}_{own_mark()}_{secrets.token_hex(4)}_"


@dataclass(frozen=True)
class StubRegions:
    """The regions of one start of a server.

    Attributes:
        prefix: What their names begin with, and no others.
    """

    prefix: str = field(default_factory=_new_prefix)

    def hide(self) -> None:
        """Take their names away, before the first image is in them.

        Server and stubs have them open by now and go on with them, also when they grow.
        """
        named = self._named()
        if any(region.stat().st_mode & 0o077 for region in named):
            logger.warning(
                "this system lets other users of the machine open the shared memory of the Triton "
                "server while it starts: run it where nobody else can log in"
            )
        for region in named:
            region.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove what has a name."""
        for region in self._named():
            region.unlink(missing_ok=True)

    def _named(self) -> list[Path]:
        return list(SHM_FOLDER.glob(f"{self.prefix}*"))

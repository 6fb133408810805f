"""Memory that a process shares with one child, in slots that pass back and forth."""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Final

import numpy as np
import numpy.typing as npt

SLOT_BYTES: Final = 96 << 20
"""What one slot can hold: an 8K frame in 4:2:0 and its model input. Memory is taken up only as far
as it is written to, so a slot costs what its frames need."""


class SharedFrames:
    """Slots of shared memory without a name: nothing is left behind, however its owners end.

    Who may touch a slot at a time is up to the messages that its two owners exchange.
    """

    def __init__(self, slots: int, *, fd: int | None = None) -> None:
        """Create the memory, or with `fd` open what another process has created."""
        self.slots = slots
        self.fd = _create(slots * SLOT_BYTES) if fd is None else fd
        self._map = mmap.mmap(self.fd, slots * SLOT_BYTES)
        self._bytes = np.frombuffer(self._map, np.uint8)

    def slot(self, index: int) -> npt.NDArray[np.uint8]:
        """The bytes of one slot, writable; valid as long as anybody holds them."""
        if not 0 <= index < self.slots:
            raise IndexError(f"slot {index} of {self.slots}")
        return self._bytes[index * SLOT_BYTES : (index + 1) * SLOT_BYTES]

    def close(self) -> None:
        """Give up the descriptor; the memory goes when no slot is held any more."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _create(size: int) -> int:
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("faceblur-frames", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, size)
    return fd

"""How many files are masked at the same time, and the memory that they share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from faceblur.batch.jobs import Job
from faceblur.detection.cores import usable_cores
from faceblur.errors import InputError
from faceblur.image.decoding import held_pixels

BUDGET_BYTES: Final = 2 << 30
"""What the files under way may take together; one that takes more is masked alone."""

_VIDEO_BYTES: Final = 1 << 30
"""Frames held back for the cover (512 MB at most), and those in an encoder."""

_PIXEL_BYTES: Final = 20
"""Of an image: decoded, reduced, masked, and once more while it is encoded."""

MAX_WORKERS: Final = 8
"""More than that wait for the detector and the disk."""


def default_workers() -> int:
    """How many files to mask at the same time: two for each core, as they wait for the disk too."""
    return min(2 * usable_cores(), MAX_WORKERS)


class MemoryBudget:
    """Lets files begin while there is room for them."""

    def __init__(self, total_bytes: int = BUDGET_BYTES) -> None:
        self._total = total_bytes
        self._used = 0
        self._changed = threading.Condition()

    @contextmanager
    def room_for(self, size_bytes: int) -> Iterator[None]:
        """Wait for room, and keep it while the block runs. What is too large runs alone."""
        size_bytes = min(size_bytes, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._used + size_bytes <= self._total)
            self._used += size_bytes
        try:
            yield
        finally:
            with self._changed:
                self._used -= size_bytes
                self._changed.notify_all()


def memory_bytes(job: Job) -> int:
    """About how much memory it takes to mask a file; 0 for one that cannot be opened."""
    if job.kind == "video":
        return _VIDEO_BYTES
    try:
        return held_pixels(job.source) * _PIXEL_BYTES
    except InputError:
        return 0

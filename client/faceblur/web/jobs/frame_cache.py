"""Frames that somebody looks at, in memory alone."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from dataclasses import dataclass, field


@dataclass(eq=False)
class FrameCache:
    """Frames of one file as JPEG, the last ones that somebody asked for and those beside them.

    Attributes:
        turn: Held while one of them is looked for: who waits keeps no thread busy, of which there
            are few.
    """

    most: int = 40
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _frames: OrderedDict[tuple[int, int], bytes] = field(default_factory=OrderedDict)

    def find(self, number: int, index: int) -> bytes | None:
        """A frame of a result, or with 0 of the original; None if it is not here."""
        return self._frames.get((number, index))

    def add(self, number: int, index: int, image: bytes) -> None:
        """Take a frame, and let go of the oldest one."""
        self._frames[number, index] = image
        while len(self._frames) > self.most:
            self._frames.popitem(last=False)

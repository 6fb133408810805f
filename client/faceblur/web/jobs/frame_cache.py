"""Frames that somebody looks at, in memory alone."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from faceblur.video.key_frames import KeyFrames


@dataclass(eq=False)
class FrameCache:
    """Frames of one file as JPEG, the last ones that somebody asked for and those beside them.

    Attributes:
        turn: Held while one of them is looked for: who waits keeps no thread busy, of which there
            are few.
        places: Of results, which of their pages shows each of the original, where several have
            become one.
        keys: Of the original (0) and of results, where decoding can begin if their containers do
            not say; None if nobody knows.
    """

    most: int = 40
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    places: dict[int, Sequence[int]] = field(default_factory=dict)
    keys: dict[int, KeyFrames | None] = field(default_factory=dict)
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

"""Warnings that come again and again: each kind is said once in a while."""

from __future__ import annotations

import re
import time
from typing import Final

AGAIN_S: Final = 60.0
"""The same kind of warning comes again after so long at the earliest."""

_MOST: Final = 32
_NAMES: Final = re.compile(r"\S*(?:\d|_[0-9a-f]{4,})\S*|\b[0-9a-f]{6,}\b")
"""What differs from one time to the next: numbers, addresses, names made of chance."""


def kind_of(text: str) -> str:
    """Equal for texts that say the same of things with other names."""
    return _NAMES.sub("#", text)


class Repeats:
    """What one part of the program has said in the last `again_s` seconds. One thread's."""

    def __init__(self, again_s: float = AGAIN_S) -> None:
        self._again_s = again_s
        self._said: dict[str, float] = {}

    def is_new(self, text: str, now_s: float | None = None) -> bool:
        """Whether to say a text; it counts as said then."""
        now_s = time.monotonic() if now_s is None else now_s
        kind = kind_of(text)
        if now_s - self._said.get(kind, float("-inf")) < self._again_s:
            return False
        self._said.pop(kind, None)
        self._said[kind] = now_s
        if len(self._said) > _MOST:
            del self._said[next(iter(self._said))]
        return True

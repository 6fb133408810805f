"""How long to wait before the next attempt: longer each time, and never in step with others."""

from __future__ import annotations

import random
from typing import Final

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
HEALTHY_S: Final = 10.0
"""After working for so long, the next failure counts as the first again."""

_JITTER: Final = 0.5


class Backoff:
    """Pauses between attempts, for ever: the first and the longest one, on average."""

    def __init__(
        self, *, first_s: float = FIRST_PAUSE_S, longest_s: float = LONGEST_PAUSE_S
    ) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._failures = 0

    def pause_s(self, *, worked_for_s: float = 0.0) -> float:
        """The pause after one more failure, by how long the attempt before had worked."""
        if worked_for_s >= HEALTHY_S:
            self._failures = 0
        pause_s = min(self._longest_s, self._first_s * 2.0**self._failures)
        self._failures = min(self._failures + 1, 30)
        return pause_s * random.uniform(1 - _JITTER, 1 + _JITTER)

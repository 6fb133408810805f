"""The right to run a camera, until a moment that moves on while it is renewed."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Final

Clock = Callable[[], float]

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def now_s() -> float:
    """Seconds on a clock that nobody sets, and that goes on while this machine sleeps."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


class Permit:
    """Says whether a camera may send frames at this moment; from any thread.

    Once over it stays over: what has ended for it is never told to go on.

    Args:
        until_s: Seconds on the clock at which it ends, unless it is extended; never by default.
        clock: Gives seconds.
    """

    def __init__(self, until_s: float = math.inf, *, clock: Clock = now_s) -> None:
        self._clock = clock
        self._until_s = until_s
        self._users = 0
        self._lock = threading.Lock()

    @property
    def is_valid(self) -> bool:
        """Whether frames may leave now."""
        return self._clock() < self._until_s

    @property
    def until_s(self) -> float | None:
        """When it ends as far as is known now, on `now_s`; None if it does not."""
        return None if math.isinf(self._until_s) else self._until_s

    @property
    def left_s(self) -> float:
        """Seconds until it ends, as far as is known now; infinite if it does not."""
        return max(0.0, self._until_s - self._clock())

    @property
    def is_idle(self) -> bool:
        """Whether nothing of a camera is left that has entered."""
        with self._lock:
            return self._users == 0

    def extend(self, until_s: float) -> bool:
        """Let it end later; whether that was still possible."""
        with self._lock:
            if not self.is_valid:
                self._until_s = -math.inf
                return False
            self._until_s = max(self._until_s, until_s)
            return True

    def revoke(self) -> None:
        """End it now."""
        with self._lock:
            self._until_s = -math.inf

    def enter(self) -> None:
        """A camera begins to work with it."""
        with self._lock:
            self._users += 1

    def leave(self) -> None:
        """Nothing is left of a camera that has entered."""
        with self._lock:
            self._users -= 1

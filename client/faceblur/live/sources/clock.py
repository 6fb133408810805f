"""When the frames of a stream are shown."""

from __future__ import annotations

from typing import Final

MAX_DRIFT_S: Final = 0.5
"""A stream's own clock is followed while it is no further from ours."""

_IN_BURSTS_S: Final = 15.0
"""How far ahead of its time a playlist's frame may come."""


class StreamClock:
    """Puts a stream's own times on our clock.

    Arrivals jitter and a stream's own clock does not, but it drifts, jumps, starts anywhere or
    is absent; so it is followed as long as it stays near the arrivals.

    Attributes:
        offset_s: What to add to the stream's times; None before the first frame.
    """

    def __init__(self, *, paced: bool) -> None:
        self.paced = paced
        self.offset_s: float | None = None
        self._last_s = float("-inf")

    def restart(self) -> None:
        """The stream begins again, where it has just ended."""
        self.offset_s = None

    def time_s(self, own_s: float | None, arrived_s: float) -> float:
        """When to show a frame that its stream puts at `own_s`, if at any; rises strictly."""
        if own_s is None:
            time_s = arrived_s
        else:
            delay_s = arrived_s - own_s
            if self.offset_s is None:
                self.offset_s = max(delay_s, self._last_s - own_s)
            if self.paced:
                is_near = -MAX_DRIFT_S <= own_s + self.offset_s - arrived_s <= _IN_BURSTS_S
            else:
                # The frame that was under way for the shortest time tells the offset best.
                self.offset_s = min(self.offset_s, delay_s)
                is_near = delay_s - self.offset_s <= MAX_DRIFT_S
            if not is_near:
                self.offset_s = delay_s
            time_s = own_s + self.offset_s
        self._last_s = max(time_s, self._last_s + 1e-3)
        return self._last_s

"""Say how far a run is and how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Progress:
    """One line every few seconds: step, speed, loss, part of the time spent loading, time left.

    Attributes:
        total: Steps of the run.
        ends_s: When the clock ends it instead, seconds from now.
        batch: Samples per step.
        done: Steps done before, in earlier parts of the run.
        every_s: Seconds between lines.
        clock: Seconds; replaced in tests.
    """

    total: int
    batch: int
    done: int = 0
    ends_s: float | None = None
    every_s: float = 10.0
    clock: Callable[[], float] = time.monotonic
    _start: float = field(init=False)
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        """Start the clock."""
        self._start = self._last = self.clock()

    def is_due(self, step: int) -> bool:
        """Whether the last line is no longer fresh, or the run has all its steps."""
        return self.clock() - self._last >= self.every_s or step >= self.total

    def line(self, step: int, loss: float, *, loading_s: float) -> str:
        """The line for a step.

        Args:
            step: Steps done.
            loss: Of the last one.
            loading_s: Seconds for which the network has waited for images so far.
        """
        now = self.clock()
        self._last = now
        passed = max(1e-9, now - self._start)
        speed = (step - self.done) / passed
        if self.ends_s is None:
            left, steps = (self.total - step) / max(1e-9, speed), f"{step}/{self.total}"
        else:
            left, steps = max(0.0, self.ends_s - passed), str(step)
        return (
            f"step {steps} · {speed * self.batch:.1f} samples/s · "
            f"loss {loss:.3f} · {loading_s / passed:.0%} loading · {duration(left)} left"
        )


def duration(seconds: float) -> str:
    """Hours and minutes, or minutes and seconds when short."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s"

"""How the learning rate goes: warm-up, then cosine, or level with a decay at the end.

By steps, or by the clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

CLOCK_DECAY = 0.45
"""Part of a run by the clock in which the rate falls."""

ENDLESS = 1_000_000_000
"""Steps of a run that the clock ends."""


@dataclass(frozen=True)
class Schedule:
    """Learning rate as a function of the step, or the time trained: a resumed run continues it.

    Attributes:
        rate: Highest learning rate.
        steps: Steps of the whole run.
        warmup: Steps of linear increase at the start.
        shape: `cosine`, or `wsd` (warm-up, stable, decay): level until the last `decay` steps,
            then linear to zero. A `wsd` run can be prolonged from any point before its decay.
        decay: Steps of the decay of `wsd`.
        floor: Rate at the very end, as a part of the highest.
        minutes: Length by the clock, if any: level after the warm-up, whatever the shape, then
            linear to zero over the last `CLOCK_DECAY` of the time.
    """

    rate: float
    steps: int
    warmup: int = 200
    shape: Literal["cosine", "wsd"] = "wsd"
    decay: int = 0
    floor: float = 0.01
    minutes: float = 0.0

    def at(self, step: int, seconds: float = 0.0) -> float:
        """Learning rate of a step, counted from 0, after so many seconds of training."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        if self.minutes:
            left = 1 - seconds / (60 * self.minutes)
            return self.rate * max(self.floor, min(1.0, left / CLOCK_DECAY))
        if self.shape == "cosine":
            part = (step - self.warmup) / max(1, self.steps - self.warmup)
            part = min(1.0, part)
            return self.rate * (self.floor + (1 - self.floor) * (1 + math.cos(math.pi * part)) / 2)
        left = self.steps - step
        if left >= self.decay:
            return self.rate
        return self.rate * max(self.floor, left / max(1, self.decay))

    def is_over(self, step: int, seconds: float) -> bool:
        """Whether so many steps, or so many seconds, are the whole run."""
        return step >= self.steps or (self.minutes > 0 and seconds >= 60 * self.minutes)

    @property
    def decay_start(self) -> int:
        """First step of the decay."""
        return self.steps - self.decay if self.shape == "wsd" else self.steps

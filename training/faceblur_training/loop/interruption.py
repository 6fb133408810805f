"""Let a signal end a run after the step at hand instead of in the middle of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """Whether somebody asked the run to end.

    Attributes:
        signal_number: The signal that came, or 0.
    """

    def __init__(self) -> None:
        self.signal_number = 0

    def __bool__(self) -> bool:
        return self.signal_number != 0

    @property
    def exit_code(self) -> int:
        """What a shell expects of a program that a signal ended."""
        return 128 + self.signal_number


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Take note of Ctrl-C and SIGTERM inside the block; a second one ends it at once."""
    state = Interruption()

    def note(number: int, _frame: FrameType | None) -> None:
        if state:
            raise KeyboardInterrupt
        state.signal_number = number

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield state
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

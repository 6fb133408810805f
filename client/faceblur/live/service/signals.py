"""What signals tell a service."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Obedient(Protocol):
    """What signals can tell something."""

    def stop(self) -> None:
        """End in order."""

    def reload(self) -> None:
        """Look at what has changed."""


@contextmanager
def obeying_signals(service: Obedient) -> Iterator[None]:
    """SIGTERM and SIGINT stop the service in order, SIGHUP has it read its file again."""
    handlers = {signal.SIGTERM: service.stop, signal.SIGINT: service.stop}
    if hasattr(signal, "SIGHUP"):
        handlers[signal.SIGHUP] = service.reload
    before = {
        number: signal.signal(number, lambda number, _: handlers[signal.Signals(number)]())
        for number in handlers
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""What signals tell a service."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Protocol


class Obedient(Protocol):
    """What signals can tell something."""

    def stop(self) -> None:
        """End in order."""

    def reload(self) -> None:
        """Look at what has changed."""


@contextmanager
def obeying_signals(service: Obedient) -> Iterator[None]:
    """SIGTERM and SIGINT stop the service in order, SIGHUP has it read its file again.

    A handler interrupts this thread anywhere, also where it holds a lock that stopping takes, such
    as that of a `threading.Event`: so a thread of its own tells the service. Only putting into a
    `SimpleQueue` may interrupt even itself.
    """
    orders: dict[int, Callable[[], None]] = dict.fromkeys(
        (signal.SIGTERM, signal.SIGINT), service.stop
    )
    if hasattr(signal, "SIGHUP"):
        orders[signal.SIGHUP] = service.reload
    given: SimpleQueue[int | None] = SimpleQueue()

    def tell() -> None:
        while (number := given.get()) is not None:
            orders[number]()

    teller = threading.Thread(target=tell, name="faceblur-signals", daemon=True)
    teller.start()
    before = {
        number: signal.signal(number, lambda number, _: given.put(number)) for number in orders
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        given.put(None)
        teller.join()

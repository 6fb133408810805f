"""Wake a thread that waits for several things at once."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterable

from faceblur.live.process.messages import MessageSocket


class Wakeup:
    """Something to wait on beside links, that any thread can set off."""

    def __init__(self) -> None:
        self._reading, self._writing = socket.socketpair()
        self._reading.setblocking(False)
        self._writing.setblocking(False)

    def wake(self) -> None:
        """End the wait under way, or the next one."""
        # A full buffer wakes as well as one more byte would; a closed one wakes nobody.
        with contextlib.suppress(OSError):
            self._writing.send(b".")

    def wait(self, links: Iterable[MessageSocket], timeout_s: float) -> None:
        """Wait for a message on any link, a wake, or the end of the time."""
        poller = select.poll()
        poller.register(self._reading, select.POLLIN)
        for link in links:
            poller.register(link.fileno(), select.POLLIN)
        poller.poll(max(0.0, timeout_s) * 1000)
        with contextlib.suppress(OSError):
            while len(self._reading.recv(4096)) == 4096:
                pass

    def close(self) -> None:
        """Release both ends."""
        self._reading.close()
        self._writing.close()

"""A network of limited bandwidth between a client and a server on this machine."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Final

from rig.faulty_servers import TcpProxy

_CHUNK_BYTES: Final = 1 << 14

_CATCH_UP_S: Final = 0.01
"""A sleep that ended late is made up for, within this; what is longer was a pause of the sender."""


class SlowLink(TcpProxy):
    """Passes bytes on at a limited rate, each direction by itself.

    Args:
        address: host:port of the server.
        mbit_per_s: Of one connection in one direction.
    """

    def __init__(self, address: str, *, mbit_per_s: float) -> None:
        self._bytes_per_s = mbit_per_s * 1e6 / 8
        super().__init__(address)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        free_at = time.monotonic()
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK_BYTES):
                # The link is busy with a chunk for as long as its bytes take.
                free_at = (
                    max(free_at, time.monotonic() - _CATCH_UP_S) + len(data) / self._bytes_per_s
                )
                time.sleep(max(0.0, free_at - time.monotonic()))
                sink.sendall(data)
        self._sockets.discard(source)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

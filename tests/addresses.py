"""Addresses of this machine; ports for servers that are about to start are those of `rig.ports`."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unanswered() -> Iterator[str]:
    """host:port of this machine at which every connection is refused, while the block runs."""
    with socket.socket() as taken:
        # Bound, so that nobody else gets it; and nobody listens.
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"

"""Ports of this machine: for a server that is about to start, and one that nobody answers at."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from faceblur.detection.triton.ports import port_is_free

_HANDED_OUT_BY_NOBODY = range(20_000, 32_000)
"""Below those that Linux gives to whoever asks for any, at any moment."""


def port_to_listen_at() -> int:
    """A port that stays free until a program that must be told one has started."""
    while True:
        port = random.SystemRandom().choice(_HANDED_OUT_BY_NOBODY)
        if port_is_free("127.0.0.1", port):
            return port


@contextmanager
def unanswered() -> Iterator[str]:
    """host:port of this machine at which every connection is refused, while the block runs."""
    with socket.socket() as taken:
        # Bound, so that nobody else gets it; and nobody listens.
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"

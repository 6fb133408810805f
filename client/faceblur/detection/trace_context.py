"""Which trace a request belongs to, as W3C's header `traceparent` says it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

HEADER: Final = "traceparent"

_current: ContextVar[str] = ContextVar("faceblur_traceparent", default="")


@contextmanager
def requests_of(traceparent: str) -> Iterator[None]:
    """Have the requests that this thread makes within belong to a trace; to none where empty."""
    token = _current.set(traceparent)
    try:
        yield
    finally:
        _current.reset(token)


def headers() -> dict[str, str] | None:
    """What to send along with a request; None where it belongs to no trace."""
    return {HEADER: traceparent} if (traceparent := _current.get()) else None

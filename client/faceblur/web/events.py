"""The addresses that tell of changes as they come, as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from faceblur.web.answers import job_of, missing, owner_of
from faceblur.web.jobs.job import FINAL
from faceblur.web.jobs.store import JobStore

_POLL_S: Final = 0.15
_HEARTBEAT_S: Final = 15.0
_ENDED: Final = "event: ended\ndata: {}\n\n"
"""The program ends, and everything goes with it."""

_DELETED: Final = "event: deleted\ndata: {}\n\n"


def event_routes(
    store: JobStore, *, state: Callable[[str], dict[str, Any]], is_stopping: Callable[[], bool]
) -> list[Route]:
    """The addresses.

    Args:
        store: The files.
        state: What there is to say to a visitor.
        is_stopping: Whether the program ends.
    """
    events = _Events(store, state, is_stopping)
    return [
        Route("/api/events", events.of_all),
        Route("/api/jobs/{id}/events", events.of_one),
    ]


class _Events:
    def __init__(
        self,
        store: JobStore,
        state: Callable[[str], dict[str, Any]],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._store = store
        self._state = state
        self._is_stopping = is_stopping

    async def of_all(self, request: Request) -> Response:
        """All files whenever something changes, until the visitor leaves."""
        return _streamed(self._of_all(request, owner_of(request)))

    async def of_one(self, request: Request) -> Response:
        """One file whenever it changes, until it has come to its end."""
        if job_of(self._store, request) is None:
            return missing()
        return _streamed(self._of_one(request))

    async def _of_all(self, request: Request, owner: str) -> AsyncIterator[str]:
        # A program may come and go; what it sent is kept all the same.
        is_page: bool = request.state.is_page
        if is_page:
            self._store.page_opened(owner)
        try:
            async for event in self._changes(request, lambda: self._state(owner)):
                yield event
        finally:
            if is_page:
                self._store.page_closed(owner)

    async def _of_one(self, request: Request) -> AsyncIterator[str]:
        def state() -> dict[str, Any] | None:
            job = job_of(self._store, request)
            return None if job is None else job.to_json()

        def is_last(said: dict[str, Any]) -> bool:
            return said["state"] in FINAL

        async for event in self._changes(request, state, is_last=is_last):
            yield event

    async def _changes(
        self,
        request: Request,
        state: Callable[[], dict[str, Any] | None],
        *,
        is_last: Callable[[dict[str, Any]], bool] = lambda _: False,
    ) -> AsyncIterator[str]:
        told, silent_s = "", 0.0
        while not await request.is_disconnected():
            if self._is_stopping():
                yield _ENDED
                return
            now = state()
            if now is None:
                yield _DELETED
                return
            event = f"data: {json.dumps(now)}\n\n"
            if event != told:
                told, silent_s = event, 0.0
                yield event
                if is_last(now):
                    return
            elif silent_s > _HEARTBEAT_S:
                silent_s = 0.0
                yield ": still here\n\n"
            await asyncio.sleep(_POLL_S)
            silent_s += _POLL_S


def _streamed(events: AsyncIterator[str]) -> Response:
    return StreamingResponse(events, media_type="text/event-stream")

"""The addresses with which somebody changes a result, and goes back and forth between results."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from faceblur.errors import InputError
from faceblur.web.answers import job_of, missing, refused
from faceblur.web.jobs.edits import Edits, read_corrections, written
from faceblur.web.jobs.store import FullError, JobStore

_MOST_BYTES: Final = 1_000_000
"""Of what may be wanted of one result."""


def editing_routes(store: JobStore) -> list[Route]:
    """The addresses.

    Args:
        store: The files.
    """
    editing = _Editing(store)
    return [
        Route("/api/jobs/{id}/edits", editing.edit, methods=["POST"]),
        Route("/api/jobs/{id}/corrections", editing.open, methods=["POST"]),
        Route("/api/jobs/{id}/undo", editing.undo, methods=["POST"]),
        Route("/api/jobs/{id}/redo", editing.redo, methods=["POST"]),
    ]


class _Editing:
    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def edit(self, request: Request) -> Response:
        """Make the result again, from what was found and from what is wanted: all of it."""
        job = job_of(self._store, request)
        if job is None:
            return missing()
        try:
            edits = await asyncio.to_thread(Edits.read, await _body(request))
            await asyncio.to_thread(self._store.edit, job, edits)
        except InputError as refusal:
            return refused(422, str(refusal))
        except FullError:
            return refused(507, "the disk is nearly full: free some space")
        return JSONResponse(job.to_json(), 202)

    async def open(self, request: Request) -> Response:
        """Read a file of corrections as somebody saved it; nothing is made of it yet."""
        job = job_of(self._store, request)
        findings = None if job is None else job.findings
        if findings is None:
            return missing()
        try:
            body = await _body(request)
            corrections = await asyncio.to_thread(read_corrections, body, findings.report)
        except InputError as refusal:
            return refused(422, str(refusal))
        return JSONResponse({"corrections": written(corrections)})

    async def undo(self, request: Request) -> Response:
        """Go back to the result before."""
        return self._step(request, -1)

    async def redo(self, request: Request) -> Response:
        """Go on to the result that was gone back from."""
        return self._step(request, 1)

    def _step(self, request: Request, by: int) -> Response:
        job = job_of(self._store, request)
        if job is None:
            return missing()
        if not self._store.step(job, by):
            return refused(409, "there is no other result")
        return JSONResponse(job.to_json())


async def _body(request: Request) -> bytes:
    """The body of a request.

    Raises:
        InputError: It is too much.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            raise InputError("that is too much")
    return body

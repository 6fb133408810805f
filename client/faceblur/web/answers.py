"""What the addresses have in common: whose request it is, and how it is refused."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from faceblur.web.jobs.job import WebJob
from faceblur.web.jobs.store import JobStore

_NUMBER: Final = re.compile(r"[0-9]{1,15}")

LONE: Final = {"Content-Security-Policy": "default-src 'none'; sandbox"}
"""A result runs nothing, whatever is in it."""


def owner_of(request: Request) -> str:
    """The session that a request belongs to."""
    return str(request.state.owner)


def job_of(store: JobStore, request: Request) -> WebJob | None:
    """The file that a request names, if it is this visitor's."""
    return store.find(owner_of(request), request.path_params["id"])


def number_of(text: str) -> int | None:
    """A number that somebody has sent; None if it is none, or more than anybody means."""
    return int(text) if _NUMBER.fullmatch(text) else None


def attachment(name: str) -> dict[str, str]:
    """Headers of a file that is to be saved under a name."""
    return {**LONE, "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}


def refused(code: int, sentence: str) -> Response:
    """A refusal, with the reason."""
    return JSONResponse({"error": sentence}, status_code=code)


def missing() -> Response:
    """There is nothing."""
    return refused(404, "there is no such file, or it is not finished, or it was deleted")

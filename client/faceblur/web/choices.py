"""The addresses with which somebody chooses who stays visible in a video.

They show unmasked faces, to the one who uploaded them; these are made when they are asked for, and
held in memory alone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from faceblur.batch.people import Person, look_at
from faceblur.batch.shared_detector import StoppedError
from faceblur.detections import FrameDetectionsLog
from faceblur.errors import FaceblurError, InputError
from faceblur.web.answers import LONE, job_of, missing, refused
from faceblur.web.jobs import WebJob
from faceblur.web.store import FullError, JobStore

_MOST_BYTES: Final = 100_000
"""Of what may be said about one choice."""


def choice_routes(store: JobStore, *, check_going: Callable[[], None]) -> list[Route]:
    """The addresses.

    Args:
        store: The files.
        check_going: Raises StoppedError when the program ends.
    """
    choices = _Choices(store, check_going)
    return [
        Route("/api/jobs/{id}/people", choices.people),
        Route("/api/jobs/{id}/people/{track:int}", choices.view),
        Route("/api/jobs/{id}/keep", choices.keep, methods=["POST"]),
        Route("/api/jobs/{id}/undo", choices.undo, methods=["POST"]),
        Route("/api/jobs/{id}/redo", choices.redo, methods=["POST"]),
    ]


class _Choices:
    def __init__(self, store: JobStore, check_going: Callable[[], None]) -> None:
        self._store = store
        self._check_going = check_going

    async def people(self, request: Request) -> Response:
        """Who can stay visible: tracks, as in `faceblur people`."""
        job = job_of(self._store, request)
        if job is None or job.findings is None:
            return missing()
        try:
            people = await asyncio.to_thread(self._looked_at, job)
        except StoppedError:
            return refused(410, "it was deleted")
        except FaceblurError:
            return refused(422, "the video cannot be read any more")
        shown = [person for person in people if person.view is not None]
        return JSONResponse(
            {"people": [_to_json(each) for each in shown], "covered": len(people) - len(shown)}
        )

    async def view(self, request: Request) -> Response:
        """The best view of one of them."""
        job = job_of(self._store, request)
        if job is None or job.findings is None:
            return missing()
        track = request.path_params["track"]
        views = (person.view for person in job.people or () if person.track.id == track)
        view = next(views, None)
        return missing() if view is None else Response(view, media_type="image/jpeg", headers=LONE)

    async def keep(self, request: Request) -> Response:
        """Make the result again, with these people visible."""
        job = job_of(self._store, request)
        if job is None:
            return missing()
        try:
            self._store.keep_visible(job, await _tracks(request))
        except InputError as refusal:
            return refused(422, str(refusal))
        except FullError:
            return refused(507, "the disk is nearly full: free some space")
        return JSONResponse(job.to_json(), 202)

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

    def _looked_at(self, job: WebJob) -> list[Person]:
        def check_going() -> None:
            self._check_going()
            if job.deleted:
                raise StoppedError("deleted")

        # Two pages of one visitor need not look twice.
        with job.looking:
            findings = job.findings
            if job.people is None and findings is not None:
                log = findings.report.frames
                assert isinstance(log, FrameDetectionsLog)
                people = look_at(findings.report, log, on_frame=check_going)
                check_going()
                job.people = people
            return job.people or []


async def _tracks(request: Request) -> frozenset[int]:
    """The tracks that a request names.

    Raises:
        InputError: It names none, in the form that is wanted.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            raise InputError("that is too much")
    try:
        tracks = json.loads(body)["tracks"]
        if not all(type(track) is int for track in tracks):
            raise TypeError
        return frozenset(tracks)
    except (ValueError, KeyError, TypeError, RecursionError) as mistake:
        raise InputError('say {"tracks": [1, 2]}') from mistake


def _to_json(person: Person) -> dict[str, Any]:
    track = person.track
    return {
        "track": track.id,
        "first_s": round(track.first_s, 2),
        "last_s": round(track.last_s, 2),
        "certain_s": round(person.unmasked_s, 2),
        "view_s": round(person.view_s, 2),
    }

"""The addresses that show who may be chosen to stay visible in a video.

They show unmasked faces, to the one who uploaded them; these are made when they are asked for, and
held in memory alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from faceblur.batch.people import Person, look_at
from faceblur.batch.shared_detector import StoppedError
from faceblur.detections import FrameDetectionsLog
from faceblur.errors import FaceblurError
from faceblur.web.answers import LONE, job_of, missing, number_of, refused
from faceblur.web.jobs.job import WebJob
from faceblur.web.jobs.store import JobStore


def choice_routes(store: JobStore, *, check_going: Callable[[], None]) -> list[Route]:
    """The addresses.

    Args:
        store: The files.
        check_going: Raises StoppedError when the program ends.
    """
    choices = _Choices(store, check_going)
    return [
        Route("/api/jobs/{id}/people", choices.people),
        Route("/api/jobs/{id}/people/{track}", choices.view),
    ]


class _Choices:
    def __init__(self, store: JobStore, check_going: Callable[[], None]) -> None:
        self._store = store
        self._check_going = check_going

    async def people(self, request: Request) -> Response:
        """Who can stay visible: tracks, as in `faceblur people`."""
        job = self._job(request)
        if job is None:
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
        job = self._job(request)
        if job is None:
            return missing()
        track = number_of(request.path_params["track"])
        views = (person.view for person in job.people or () if person.track.id == track)
        view = next(views, None)
        return missing() if view is None else Response(view, media_type="image/jpeg", headers=LONE)

    def _job(self, request: Request) -> WebJob | None:
        """The file that a request names, if somebody can be chosen in it."""
        job = job_of(self._store, request)
        findings = None if job is None else job.findings
        return job if findings is not None and findings.chooses else None

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


def _to_json(person: Person) -> dict[str, Any]:
    track = person.track
    return {
        "track": track.id,
        "first_s": round(track.first_s, 2),
        "last_s": round(track.last_s, 2),
        "certain_s": round(person.unmasked_s, 2),
        "view_s": round(person.view_s, 2),
    }

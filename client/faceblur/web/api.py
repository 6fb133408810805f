"""The addresses of the page and of what lies beneath it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from faceblur.batch.shared_detector import StoppedError
from faceblur.web.access import Access, Guard
from faceblur.web.answers import LONE, attachment, job_of, missing, owner_of, refused
from faceblur.web.archives import archive, clean_results
from faceblur.web.cameras.found_routes import found_routes
from faceblur.web.cameras.trial_routes import trial_routes
from faceblur.web.cameras.wall import Wall
from faceblur.web.cameras.wall_routes import wall_routes
from faceblur.web.cameras.webcam_routes import Webcams, webcam_routes
from faceblur.web.description import description_routes
from faceblur.web.editing.choice_routes import choice_routes
from faceblur.web.editing.edit_routes import editing_routes
from faceblur.web.editing.frame_routes import frame_routes
from faceblur.web.editing.look_routes import look_routes
from faceblur.web.events import event_routes
from faceblur.web.jobs.detectors import Detectors
from faceblur.web.jobs.job import WebJob
from faceblur.web.jobs.looks import offered
from faceblur.web.jobs.store import JobStore
from faceblur.web.jobs.uploads import known_suffixes
from faceblur.web.options import WebOptions
from faceblur.web.outputs import output_routes
from faceblur.web.previews import TYPES, image_of, is_heavy
from faceblur.web.reports import report_routes
from faceblur.web.submissions import submission_routes

logger = logging.getLogger(__name__)

STATIC: Final = Path(__file__).with_name("static")


class Api:
    """Answers requests.

    Attributes:
        app: As ASGI wants it.
        stopping: Set when the server ends, so that pages that listen let go.
    """

    def __init__(
        self,
        store: JobStore,
        detectors: Detectors,
        options: WebOptions,
        *,
        webcams: Webcams,
        wall: Wall | None,
        access: Access,
    ) -> None:
        self._store = store
        self._detectors = detectors
        self._options = options
        self._access = access
        self.stopping = False
        routes = [
            Route("/", self.page),
            Route("/api/session", self.session),
            *event_routes(store, state=self._state, is_stopping=lambda: self.stopping),
            Route("/api/jobs", self.list_jobs, methods=["GET"]),
            *submission_routes(store, options),
            Route("/api/jobs", self.delete_all, methods=["DELETE"]),
            Route("/api/results.zip", self.results),
            Route("/api/jobs/{id}", self.show, methods=["GET"]),
            Route("/api/jobs/{id}", self.delete, methods=["DELETE"]),
            Route("/api/jobs/{id}/cancel", self.cancel, methods=["POST"]),
            Route("/api/jobs/{id}/preview", self.preview),
            Route("/api/jobs/{id}/result", self.result),
            *choice_routes(store, check_going=self._check_going),
            *editing_routes(store),
            *webcam_routes(webcams, access),
            *wall_routes(wall, access),
            *trial_routes(wall, detectors),
            *found_routes(wall),
            *frame_routes(store, check_going=self._check_going),
            *report_routes(store),
            *output_routes(store, options),
            *look_routes(store, options.policy, check_going=self._check_going),
            *description_routes(),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        guard = Middleware(Guard, access=access)
        self.app = Starlette(
            routes=routes,
            middleware=[guard],
            exception_handlers={
                HTTPException: _unanswered,
                ClientDisconnect: _gone,
                FileNotFoundError: _lost,
                RuntimeError: _lost,
            },
        )

    async def page(self, request: Request) -> Response:
        """The page, for whoever has its token, or has had it."""
        response = FileResponse(STATIC / "index.html")
        if self._access.session_of(request) is not None:
            return response
        # Some programs look at an address before anybody has asked for it.
        early = request.method == "HEAD" or "prefetch" in request.headers.get("sec-purpose", "")
        given = request.query_params.get("token", "")
        session = None if early else self._access.redeem(given)
        if session is None:
            return PlainTextResponse(
                "This address is not valid, or no longer: it works once, and until faceblur web "
                "ends. Go back to the tab that is open; if faceblur web was started again since, "
                "open the address that it has printed now.\n",
                status_code=403,
            )
        response.set_cookie(
            self._access.cookie,
            session,
            httponly=True,
            samesite="strict",
            path="/",
            secure=self._access.is_encrypted,
        )
        return response

    async def session(self, _: Request) -> Response:
        """What the page has to know before it begins."""
        limits = self._options.limits
        return JSONResponse(
            {
                "max_bytes": limits.file_bytes,
                "max_jobs": limits.jobs,
                "suffixes": sorted(known_suffixes()),
                "keep_minutes": round(self._options.keep_s / 60),
                **offered(self._options.policy.mask),
                "has_cameras": self._options.cameras is not None,
            }
        )

    async def list_jobs(self, request: Request) -> Response:
        """All files."""
        return JSONResponse(self._state(owner_of(request)))

    async def delete_all(self, request: Request) -> Response:
        """Delete every file."""
        for job in self._store.of(owner_of(request)):
            await asyncio.to_thread(self._store.delete, job)
        return Response(status_code=204)

    async def show(self, request: Request) -> Response:
        """One file."""
        job = self._job(request)
        return missing() if job is None else JSONResponse(job.to_json())

    async def delete(self, request: Request) -> Response:
        """Break one file off and delete it."""
        job = self._job(request)
        if job is None:
            return missing()
        await asyncio.to_thread(self._store.delete, job)
        return Response(status_code=204)

    async def cancel(self, request: Request) -> Response:
        """Break one file off."""
        job = self._job(request)
        if job is None:
            return missing()
        self._store.cancel(job)
        return JSONResponse(job.to_json(), 202)

    async def preview(self, request: Request) -> Response:
        """The masked file, to look at: when it is whole, and before it is checked."""
        job = self._job(request)
        masked = None if job is None else job.masked
        if job is None or masked is None:
            return missing()
        kind = TYPES.get(masked.output.suffix.lower())
        if kind is not None and not is_heavy(masked.output):
            return FileResponse(masked.output, media_type=kind, headers=LONE)
        if job.kind == "image":
            image = await asyncio.to_thread(image_of, masked.output)
            if image is not None:
                return Response(image, media_type="image/jpeg", headers=LONE)
        return refused(415, "a browser cannot show this: save it to look at it")

    async def result(self, request: Request) -> Response:
        """The masked file, to keep."""
        job = self._job(request)
        result = None if job is None else job.result
        if job is None or result is None:
            return missing()
        return FileResponse(
            result.output,
            filename=job.result_name,
            media_type="application/octet-stream",
            headers=LONE,
        )

    async def results(self, request: Request) -> Response:
        """All masked files in which the check found nothing, as a zip file.

        With `reports` in the query, each with its record.
        """
        jobs = self._store.of(owner_of(request))
        records = "reports" in request.query_params
        files = await asyncio.to_thread(clean_results, jobs, records=records)
        if not files:
            return missing()
        return StreamingResponse(
            archive(files), headers=attachment("masked.zip"), media_type="application/zip"
        )

    def _job(self, request: Request) -> WebJob | None:
        return job_of(self._store, request)

    def _check_going(self) -> None:
        if self.stopping:
            raise StoppedError("the program ends")

    def _state(self, owner: str) -> dict[str, Any]:
        detector = {"health": self._detectors.health, "trouble": self._detectors.trouble}
        return {"jobs": self._store.to_json(owner), "detector": detector}


async def _unanswered(_: Request, error: Exception) -> Response:
    """Refuse an address or a method that there is not."""
    assert isinstance(error, HTTPException)
    response = refused(error.status_code, f"there is nothing here: {error.detail}")
    response.headers.update(error.headers or {})
    return response


async def _lost(_: Request, error: Exception) -> Response:
    """Answer whoever asks for a file that is deleted at this very moment."""
    # So Starlette says that what is to be sent is not there.
    if isinstance(error, FileNotFoundError) or isinstance(error.__context__, FileNotFoundError):
        return missing()
    raise error


async def _gone(_: Request, __: Exception) -> Response:
    """Answer whoever has gone before all was sent: nobody, so that nothing is said of it here."""
    return refused(400, "it was broken off")

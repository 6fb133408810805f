"""The address that takes a file: once for each idempotency key, however often it is sent."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import re
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from faceblur.errors import InputError
from faceblur.web.answers import number_of, owner_of, refused
from faceblur.web.jobs.delivering import check_free, check_name
from faceblur.web.jobs.edits import Edits
from faceblur.web.jobs.job import Submission, WebJob
from faceblur.web.jobs.looks import Sound
from faceblur.web.jobs.reasons import not_stored
from faceblur.web.jobs.rendering import has_sound
from faceblur.web.jobs.store import FullError, JobStore
from faceblur.web.jobs.stored import checked_address, fetch
from faceblur.web.jobs.uploads import UploadError, parts, receive
from faceblur.web.options import WebOptions
from faceblur.web.outputs import destination_of

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_OTHER_FILE: Final = (
    "this Idempotency-Key came with another file, or something else said of it, before"
)


def submission_routes(store: JobStore, options: WebOptions) -> list[Route]:
    """The address.

    Args:
        store: Where files go.
        options: What is taken, and who may be told.
    """
    submissions = _Submissions(store, options)
    return [Route("/api/jobs", submissions.create, methods=["POST"])]


class _Submissions:
    def __init__(self, store: JobStore, options: WebOptions) -> None:
        self._store = store
        self._options = options

    async def create(self, request: Request) -> Response:
        """Take a file: its bytes are the body, what is said of it is in the query."""
        try:
            submission = self._said(request)
        except UploadError as error:
            return refused(error.code, str(error))
        except InputError as refusal:
            return refused(422, str(refusal))
        owner, key = owner_of(request), submission.key
        before = None if key is None else self._store.find_by_key(owner, key)
        if before is not None:
            return await self._repeat(request, before, submission)
        try:
            job = self._store.begin(owner, submission)
        except FullError:
            return refused(429, "there are too many files: save and delete some first")
        except OSError as error:
            return refused(507, not_stored(error))
        try:
            await self._take(request, job)
        except UploadError as error:
            self._store.delete(job)
            return refused(error.code, str(error))
        except BaseException:
            # Its sender has gone, the server ends, or something is wrong.
            self._store.delete(job)
            raise
        return _located(job, 201)

    def _said(self, request: Request) -> Submission:
        """What a request says of its file.

        Raises:
            UploadError: The length or the key is none.
            InputError: It wants what cannot be done; one sentence.
        """
        said = request.query_params
        webhook, source = said.get("webhook"), said.get("source")
        missing = "" if source is None else "0"
        length = number_of(request.headers.get("content-length", missing))
        if length is None:
            raise UploadError(411, "say how long the file is: send Content-Length")
        key = request.headers.get("idempotency-key")
        if key is not None and not _KEY.fullmatch(key):
            raise UploadError(400, "an Idempotency-Key has 1 to 255 printable characters, no space")
        edits = self._edits(said.get("edits", "{}"))
        stored = None if source is None else checked_address(source, self._options.folders)
        destination = destination_of(said, self._options, source=stored)
        if webhook is not None:
            self._options.receivers.check(webhook)
        return Submission(
            name=said.get("name", "") or (stored.name if stored else ""),
            length=length,
            key=key,
            stored=stored,
            edits=edits,
            destination=destination,
            webhook=webhook,
        )

    async def _take(self, request: Request, job: WebJob) -> None:
        """Have a file come, and let it wait for its turn.

        Raises:
            UploadError: It is not taken.
            ClientDisconnect: Its sender has gone.
        """
        limits, stored = self._options.limits, job.submission.stored
        destination = job.submission.destination
        if destination is not None:
            await asyncio.to_thread(check_free, destination)
        if stored is None:
            await receive(job, request.stream(), limits)
        else:
            await asyncio.to_thread(fetch, job, stored, limits)
        if destination is not None:
            await asyncio.to_thread(check_name, job, destination)
        await asyncio.to_thread(_fit, job)
        if not self._store.submit(job):
            raise UploadError(410, "it was deleted")

    def _edits(self, text: str) -> Edits:
        """What is wanted of a file of which nobody knows anything yet.

        Raises:
            InputError: It is something else; one sentence.
        """
        edits = Edits.read(text.encode()).in_style(self._options.policy.mask)
        if edits.kept or edits.corrections:
            raise InputError("kept and corrections need what was found: send them once it is done")
        return edits

    async def _repeat(self, request: Request, job: WebJob, submission: Submission) -> Response:
        """Answer a file that may have come before, without keeping it."""
        if job.submission != submission:
            return refused(422, _OTHER_FILE)
        if job.state == "uploading":
            return refused(409, "the file with this Idempotency-Key is still on its way")
        digest = hashlib.sha256()
        try:
            async for part in parts(request.stream(), submission.length, job.stop):
                digest.update(part)
        except UploadError as error:
            return refused(error.code, str(error))
        if job.sha256 is not None and digest.hexdigest() != job.sha256:
            return refused(422, _OTHER_FILE)
        return _located(job, 200)


def _fit(job: WebJob) -> None:
    """Let no sound be dropped where there is none."""
    assert job.source is not None
    if job.wanted.sound != Sound() and not (job.kind == "video" and has_sound(job.source)):
        job.wanted = dataclasses.replace(job.wanted, sound=Sound())


def _located(job: WebJob, code: int) -> Response:
    return JSONResponse(job.to_json(), code, {"Location": f"/api/jobs/{job.id}"})

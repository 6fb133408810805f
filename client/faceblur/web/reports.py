"""The address at which the record of a result is saved, as one file."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from faceblur.web.answers import attachment, job_of, missing
from faceblur.web.archives import archive, files_of, record_name
from faceblur.web.jobs.store import JobStore


def report_routes(store: JobStore) -> list[Route]:
    """The addresses.

    Args:
        store: The files.
    """

    async def report(request: Request) -> Response:
        job = job_of(store, request)
        result = None if job is None else job.result
        if job is None or result is None:
            return missing()
        name = record_name(job.result_name)
        return StreamingResponse(
            archive(files_of(result.record, name)),
            headers=attachment(f"{name}.zip"),
            media_type="application/zip",
        )

    return [Route("/api/jobs/{id}/report", report)]

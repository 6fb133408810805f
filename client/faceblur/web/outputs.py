"""What programs say of where results go in object stores, and the address that writes one there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from faceblur.errors import InputError
from faceblur.stores.address import Address
from faceblur.web.answers import job_of, missing, refused
from faceblur.web.jobs.delivering import check_free, check_name
from faceblur.web.jobs.destinations import Destination
from faceblur.web.jobs.job import WebJob
from faceblur.web.jobs.store import JobStore
from faceblur.web.jobs.stored import OUTPUT, checked_address
from faceblur.web.jobs.uploads import UploadError
from faceblur.web.options import WebOptions

_FLAGS: Final = {"yes": True, "no": False}


def output_routes(store: JobStore, options: WebOptions) -> list[Route]:
    """The address.

    Args:
        store: The files.
        options: Where results may go.
    """
    return [Route("/api/jobs/{id}/output", _Outputs(store, options).write, methods=["POST"])]


def destination_of(
    said: Mapping[str, str], options: WebOptions, *, source: Address | None
) -> Destination | None:
    """Where a program wants a result; None if it fetches it from here.

    Args:
        said: The query.
        options: Where results may go.
        source: The original, where that lies in a store; it is never replaced.

    Raises:
        InputError: It may not go there, or something else is said than what there is to say.
    """
    flags = {name: _FLAGS.get(said.get(name, "no")) for name in ("replace", "unclean")}
    for name, flag in flags.items():
        if flag is None:
            raise InputError(f"{name} is yes or no")
    if "output" not in said:
        if any(flags.values()):
            raise InputError("replace and unclean go with output")
        return None
    address = checked_address(said["output"], options.outputs, OUTPUT)
    if source is not None and address.is_same(source):
        raise InputError(f"{address} is the original, which is never replaced: name another output")
    return Destination(
        address=address,
        replaces=bool(flags["replace"]),
        takes_unclean=bool(flags["unclean"]),
    )


class _Outputs:
    def __init__(self, store: JobStore, options: WebOptions) -> None:
        self._store = store
        self._options = options

    async def write(self, request: Request) -> Response:
        """Have the result that counts written to a store, or once more where it is wanted."""
        job = job_of(self._store, request)
        if job is None:
            return missing()
        try:
            destination = await asyncio.to_thread(self._wanted, job, request.query_params)
            self._store.deliver(job, destination)
        except UploadError as error:
            return refused(error.code, str(error))
        except InputError as refusal:
            return refused(422, str(refusal))
        return JSONResponse(job.to_json(), 202)

    def _wanted(self, job: WebJob, said: Mapping[str, str]) -> Destination:
        """Where it is wanted, in full.

        Raises:
            InputError: That is nowhere, or not allowed, or there is no result.
            UploadError: The result cannot get this name.
        """
        if job.result is None:
            raise InputError("this file has no result now")
        before = None if job.delivery is None else job.delivery.destination.address
        if "output" not in said and before is not None:
            said = {**said, "output": before.url}
        source = job.submission.stored
        destination = destination_of(said, self._options, source=source)
        if destination is None:
            raise InputError("say with output where the result is to go")
        check_name(job, destination)
        if destination.address != before:
            check_free(destination)
        return destination

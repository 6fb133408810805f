"""Results that are written into object stores, once they are checked and where that is allowed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from faceblur.batch.shared_detector import StoppedError
from faceblur.errors import FaceblurError, OutputError
from faceblur.image.formats import BY_SUFFIX
from faceblur.stores.faults import UnreachableError
from faceblur.stores.fsspec_store import store_of
from faceblur.stores.store import Entry, Replaces
from faceblur.video.containers import CONTAINERS
from faceblur.web.jobs.destinations import Delivery, Destination
from faceblur.web.jobs.job import CANCELLED, WebJob
from faceblur.web.jobs.reasons import on_page
from faceblur.web.jobs.rendering import plan_of
from faceblur.web.jobs.results import Result
from faceblur.web.jobs.uploads import UploadError

_UNCLEAN: Final = {
    "leaks": "it was not written, since a face may still show in it: look there, then correct it, "
    "or say unclean=yes",
    "unsure": "it was not written, since it could not be checked completely: look at it, then say "
    "unclean=yes",
}


def check_free(destination: Destination) -> None:
    """Ask the store before there is any work whether a result can get its name.

    Raises:
        UploadError: There is a file already, or the store cannot be asked.
    """
    if destination.replaces:
        return
    address = destination.address
    try:
        present = store_of(address).find(address)
    except UnreachableError as error:
        raise UploadError(503, on_page(str(error))) from error
    except FaceblurError as error:
        raise UploadError(422, on_page(str(error))) from error
    if present is not None:
        raise UploadError(409, _taken(destination))


def check_name(job: WebJob, destination: Destination) -> None:
    """Compare the name that a result is to get with what it will be.

    Raises:
        UploadError: The name says something else; programs would misread the file.
    """
    kinds = BY_SUFFIX if job.kind == "image" else CONTAINERS
    named, made = destination.address.suffix.lower(), plan_of(job).output.suffix
    if named not in kinds or kinds[named] != kinds[made]:
        raise UploadError(422, f"the result is a {made} file: let the name in output end so")


def deliver(job: WebJob, *, on_change: Callable[[], None]) -> None:
    """Write the result that counts where it is wanted, if it is; `delivery` says what became of it.

    It appears under its name when all of it is there, and not before.
    """
    delivery, result = job.delivery, job.results.current
    if delivery is None or result is None:
        return
    job.state = "storing"
    on_change()
    try:
        if delivery.number != result.number:
            entry = _written(job, delivery, result)
            delivery = replace(delivery, number=result.number, entry=entry)
        job.delivery = replace(delivery, error=None)
    except StoppedError:
        job.delivery = replace(delivery, error=CANCELLED)
    except FaceblurError as error:
        job.delivery = replace(delivery, error=on_page(str(error)))


def _written(job: WebJob, delivery: Delivery, result: Result) -> Entry:
    """Write it.

    Raises:
        FaceblurError: It is not to be written, or cannot be.
        StoppedError: It was broken off.
    """
    job.check_going()
    destination, verdict = delivery.destination, result.verdict.result
    if verdict != "clean" and not destination.takes_unclean:
        raise OutputError(_UNCLEAN[verdict])
    address = destination.address
    store = store_of(address)
    replaces: Replaces = destination.replaces
    if not replaces:
        present = store.find(address)
        # What this file has put there itself it may replace, as long as it is still that.
        if present is not None and _is_known(present) and present == delivery.entry:
            replaces = present
        elif present is not None:
            raise OutputError(_taken(destination))
    return store.commit(result.output, address, going=job.check_going, replaces=replaces)


def _is_known(entry: Entry) -> bool:
    return bool(entry.version or entry.modified)


def _taken(destination: Destination) -> str:
    return f"there is a file {destination.address} already: name another, or say replace=yes"

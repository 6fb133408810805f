"""Files of object stores that programs name, where somebody allows it, and have fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from faceblur.errors import FaceblurError, InputError, install_line
from faceblur.stores.address import Address, parse_address
from faceblur.stores.connections import is_known
from faceblur.stores.faults import UnreachableError
from faceblur.stores.fsspec_store import store_of
from faceblur.web.jobs.job import WebJob
from faceblur.web.jobs.uploads import UploadError, check_room, examine, path_of
from faceblur.web.options import Limits


@dataclass(frozen=True)
class Use:
    """What programs may name addresses for.

    Attributes:
        name: Where they name one.
        verb: What is done then.
        option: What allows it.
    """

    name: str
    verb: str
    option: str


SOURCE: Final = Use("source", "fetch", "--fetch-from")
OUTPUT: Final = Use("output", "write", "--write-to")


def allowed_folders(texts: Sequence[str], use: Use = SOURCE) -> tuple[Address, ...]:
    """Folders of stores that programs may name files of.

    Raises:
        InputError: One is none, or its library is not there.
    """
    folders = []
    for text in texts:
        folder = parse_address(text)
        # Web servers send on to others, which nobody has allowed.
        if folder is None or folder.is_read_only:
            raise InputError(f"{use.option} {folder or text} is no folder of an object store")
        known = is_known(folder.scheme)
        if known is None:
            raise InputError(f"{folder} needs libraries; first run: {install_line('cloud')}")
        if not known:
            raise InputError(f"nobody knows how to {use.verb} files of {folder}")
        folders.append(folder)
    return tuple(folders)


def checked_address(text: str, folders: Sequence[Address], use: Use = SOURCE) -> Address:
    """The file that a program names.

    Raises:
        InputError: It is none, or nobody has allowed that; one sentence.
    """
    address = parse_address(text)
    if address is None or not address.name or address.is_odd:
        raise InputError(f"{use.name} is no file of an object store")
    if not any(address.is_surely_inside(folder) for folder in folders):
        raise InputError(f"nobody has allowed to {use.verb} {address}: see {use.option}")
    return address


def fetch(job: WebJob, address: Address, limits: Limits) -> None:
    """Copy a file into the folder of its job, and find out what it is; sets `source` and `kind`.

    Raises:
        UploadError: It is not there, too large, or neither an image nor a video.
    """

    def going() -> None:
        if job.stop.is_set():
            raise UploadError(410, "it was deleted")

    try:
        store = store_of(address)
        entry = store.find(address)
        if entry is None or entry.size is None:
            raise UploadError(422, f"there is no file {address}")
        check_room(job, entry.size, limits)
        job.source = path_of(job)
        store.fetch(entry, job.source, going=going)
        check_room(job, job.source.stat().st_size, limits)
    except UnreachableError as error:
        raise UploadError(503, str(error)) from error
    except UploadError:
        raise
    except FaceblurError as error:
        raise UploadError(422, str(error)) from error
    examine(job, job.source, limits)

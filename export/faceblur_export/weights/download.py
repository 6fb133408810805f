"""Fetch a file whose hash is known, and go on where an earlier attempt stopped.

`pooch` fetches by hash as well, but begins a file that was cut off from its first byte.
"""

from __future__ import annotations

import http.client
import logging
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any, Final

from faceblur.errors import ModelError, OutputError
from faceblur.files import file_sha256
from faceblur_export.progress import ShowShare

logger = logging.getLogger(__name__)

CHUNK: Final = 1 << 16
MAX_BYTES: Final = 1 << 30
"""More than any checkpoint: a server that never stops does not fill the disk."""

ATTEMPTS: Final = 3
HTTP_PARTIAL: Final = 206
HTTP_RANGE_NOT_SATISFIABLE: Final = 416


class _InterruptedTransferError(Exception):
    """The connection ended early; what came is kept."""


def fetch(
    url: str,
    destination: Path,
    *,
    sha256: str,
    progress: ShowShare = lambda _: None,
    timeout_s: float = 30.0,
    pause_s: float = 1.0,
) -> None:
    """Fetch a file; it appears under its name only when its hash is right.

    The server may be silent for `timeout_s`; `pause_s` pass before another attempt.

    What came so far is kept beside it as `NAME.part`, and the next call asks for the rest.

    Raises:
        ModelError: It cannot be fetched, or its hash is another.
        OutputError: It cannot be written.
    """
    part = destination.with_name(f"{destination.name}.part")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _transfer(url, part, progress, timeout_s)
            break
        except (_InterruptedTransferError, OSError) as error:
            reason = getattr(error, "reason", error)
            logger.info("attempt %d at %s failed: %s", attempt, url, reason)
            if attempt == ATTEMPTS or isinstance(error, urllib.error.HTTPError):
                raise ModelError(
                    f"could not fetch {url} ({reason}); run the same command again to go on "
                    "where it stopped, or fetch it elsewhere and give it with --from FILE"
                ) from error
            time.sleep(pause_s)
    check_hash(part, sha256, remove=True)
    part.replace(destination)


def check_hash(path: Path, sha256: str, *, remove: bool = False) -> None:
    """Refuse a file whose hash is not the expected one.

    Raises:
        ModelError: The hash is another, or the file cannot be read.
    """
    found = file_sha256(path, refusal=ModelError)
    if found == sha256:
        return
    if remove:
        path.unlink()
    raise ModelError(
        f"{path.name} was refused: its SHA-256 is {found}, but {sha256} is expected; "
        "fetch it again from its official place"
    )


def _transfer(url: str, part: Path, progress: ShowShare, timeout_s: float) -> None:
    """Append to the part what is missing."""
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url)
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        if have and error.code == HTTP_RANGE_NOT_SATISFIABLE:
            return  # There is nothing beyond what we have; the hash decides.
        raise
    with response:
        resumed = response.status == HTTP_PARTIAL
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        try:
            with part.open("ab" if resumed else "wb") as file:
                have = _copy(response, file, have, total, progress)
        except OSError as error:
            raise OutputError(f"cannot write {part}: {error.strerror}") from error
    if total is not None and have < total:
        raise _InterruptedTransferError(f"the connection ended after {have} of {total} bytes")


def _copy(response: Any, file: IO[bytes], have: int, total: int | None, progress: ShowShare) -> int:
    while chunk := _read(response):
        have += len(chunk)
        if have > MAX_BYTES:
            raise ModelError(f"the server sends more than {MAX_BYTES} bytes: this is no checkpoint")
        file.write(chunk)
        progress(have / total if total else None)
    return have


def _read(response: Any) -> bytes:
    try:
        chunk: bytes = response.read(CHUNK)
    except (http.client.HTTPException, OSError) as error:
        raise _InterruptedTransferError(str(error)) from error
    return chunk

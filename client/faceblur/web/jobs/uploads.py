"""An upload: streamed to the disk within limits, and checked before it counts as a file."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import threading
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import Final

import av

from faceblur.errors import FaceblurError, InputError
from faceblur.image.decoding import held_pixels
from faceblur.image.formats import readable_suffixes
from faceblur.video.containers import CONTAINERS
from faceblur.video.kinds import VIDEO_SUFFIXES, found_kind
from faceblur.web.jobs.job import WebJob
from faceblur.web.jobs.reasons import not_stored
from faceblur.web.options import Limits

SILENCE_S: Final = 60.0
"""A sender that is silent for so long has gone."""


class UploadError(FaceblurError):
    """An upload that is not taken.

    Args:
        code: The HTTP status that says so.
    """

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


async def receive(job: WebJob, stream: AsyncIterator[bytes], limits: Limits) -> None:
    """Write an upload to its folder and examine it; sets `source` and `sha256`, too.

    Args:
        job: Its folder exists; it says how many bytes are announced.
        stream: The bytes as they come.
        limits: What is taken.

    Raises:
        UploadError: It is too large, was cut off, or is neither an image nor a video.
    """
    check_room(job, job.submission.length, limits)
    job.source = path = path_of(job)
    digest = hashlib.sha256()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        # The disk may be full only when the last bytes leave the buffer, at the end of this.
        with os.fdopen(descriptor, "wb") as file:

            def take(part: bytes) -> None:
                file.write(part)
                if job.submission.key is not None:
                    digest.update(part)

            async for part in parts(stream, job.submission.length, job.stop):
                await asyncio.to_thread(take, part)
    except OSError as error:
        raise UploadError(507, not_stored(error)) from error
    job.sha256 = digest.hexdigest()
    await asyncio.to_thread(examine, job, path, limits)


async def parts(
    stream: AsyncIterator[bytes], length: int, stop: threading.Event
) -> AsyncIterator[bytes]:
    """The parts of an upload as they come.

    Args:
        stream: Where they come from.
        length: How many bytes there must be.
        stop: Ends it.

    Raises:
        UploadError: There are more or fewer, nothing comes, or it was stopped.
    """
    received = 0
    chunks = aiter(stream)
    while True:
        try:
            chunk = await asyncio.wait_for(anext(chunks), SILENCE_S)
        except StopAsyncIteration:
            break
        except asyncio.TimeoutError:
            raise UploadError(408, "nothing came for a minute: try again") from None
        received += len(chunk)
        if received > length or stop.is_set():
            raise UploadError(413 if received > length else 410, "it was broken off")
        yield chunk
    if received != length:
        raise UploadError(400, "it did not come whole: try again")


def path_of(job: WebJob) -> Path:
    """Where a file goes that comes."""
    return job.folder / f"source{_suffix(job.name)}"


def check_room(job: WebJob, length: int, limits: Limits) -> None:
    """Let a file of so many bytes come.

    Raises:
        UploadError: It is too large for these limits or for the disk, or empty.
    """
    if length == 0:
        raise UploadError(400, "the file is empty")
    if length > limits.file_bytes:
        raise UploadError(413, f"it has more than {_size(limits.file_bytes)}: use faceblur blur")
    # The result takes about as much again.
    if shutil.disk_usage(job.folder).free < 2 * length + limits.spare_bytes:
        raise UploadError(507, "the disk is nearly full: free some space")


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def known_suffixes() -> frozenset[str]:
    """Suffixes that mean something here, lower case."""
    return readable_suffixes() | VIDEO_SUFFIXES | CONTAINERS.keys()


def _suffix(name: str) -> str:
    """The suffix, if it is one of those that mean something here."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix if suffix in known_suffixes() else ""


def examine(job: WebJob, path: Path, limits: Limits) -> None:
    """Find out what a file is that has come; sets `kind` and `pixels`.

    Raises:
        UploadError: It is neither an image nor a video, or has too many pixels.
    """
    kind, name = found_kind(path), job.name
    if kind is None or kind == "unreadable":
        what = "cannot be read here" if kind else "is neither a photo nor a video"
        raise UploadError(415, f"{name} {what}")
    try:
        pixels = held_pixels(path) if kind == "image" else _video_pixels(path)
    except InputError as error:
        raise UploadError(415, str(error).replace(str(path), name)) from error
    if pixels > limits.pixels:
        raise UploadError(
            413,
            f"{name} has more than {limits.pixels / 1e6:g} million pixels: use faceblur blur",
        )
    job.kind, job.pixels = kind, pixels


def _video_pixels(path: Path) -> int:
    try:
        with av.open(
            str(path), container_options={"protocol_whitelist": "file"}, metadata_errors="replace"
        ) as container:
            return max((s.width * s.height for s in container.streams.video), default=0)
    except (av.error.FFmpegError, EOFError, ValueError) as error:
        raise InputError(f"{path} is no video that can be read: it may be damaged") from error
